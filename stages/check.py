"""Stage check: whether params.yaml is valid, and the files are there that it names.

Every other stage comes after it. DVC removes a stage's outputs before the stage runs, so a mistake
in params.yaml has to be found earlier.

Reads   params.yaml
Writes  data/check.txt  always the same, so that nothing runs again because this stage ran
"""

from pathlib import Path

from thaw.config.files import check_files
from thaw.config.load import load_params
from thaw.support import paths
from thaw.support.files import atomic_file
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    check_files(load_params(root), root)
    with atomic_file(root / paths.CHECK) as scratch:
        scratch.write_text("params.yaml is valid\n", encoding="utf-8")
    return "params.yaml is valid"


if __name__ == "__main__":
    run("check", main)
