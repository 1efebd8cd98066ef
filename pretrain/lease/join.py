"""Join what came back from a lent machine, pack it, and measure it.

    python -m pretrain.lease.join FOLDER

Reads   FOLDER/  student-0.npz .. student-3.npz, log.csv, metrics.json
Writes  data/student.npz  lease.csv  lease.json, and what stages pack and evaluate write
"""

import argparse
import shutil
from pathlib import Path

from pretrain import evaluate, pack
from pretrain.layers import save_layers
from pretrain.lease import parts
from pretrain.settings import FOLDER, HERE
from pretrain.student import ResNet50
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file
from thaw.support.stage import run
from thaw.support.tables import read_json


def main() -> str:
    """Join, pack and, unless told not to, evaluate."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.lease.join", description=__doc__)
    parser.add_argument("folder", type=Path, help="with student-0.npz to student-3.npz")
    parser.add_argument("--only-pack", action="store_true", help="do not evaluate: 20 minutes less")
    asked = parser.parse_args()
    step = join(asked.folder)
    said = [f"step {step:,}", pack.main()]
    if not asked.only_pack:
        said.append(evaluate.main())
    return "; ".join(said)


def join(folder: Path) -> int:
    """Write the student as stage distil would, and its log beside that stage's; return its step.

    Raises:
        ThawError: a part is missing or of another step, or a weight is not finite.

    """
    layers, step = parts.read(folder, list(ResNet50().layers))
    for name, arrays in layers.items():
        if not all(abs(array).max() < float("inf") for array in arrays):
            raise ThawError(f"{name} of the student in {folder} holds values that are not finite.")
    read_json(folder / "metrics.json")
    with atomic_file(FOLDER / "student.npz") as scratch:
        save_layers(scratch, layers)
    shutil.copyfile(folder / "log.csv", HERE / "lease.csv")
    shutil.copyfile(folder / "metrics.json", HERE / "lease.json")
    return step


if __name__ == "__main__":
    run("join", main)
