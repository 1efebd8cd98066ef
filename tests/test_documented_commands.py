"""The commands of README.md and docs/: those in console blocks run, the params of all are valid."""

import re
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT
from dvc.utils.hydra import apply_overrides
from PIL import Image
from skimage import data

from tests.reliability.project import Project
from thaw.config.load import load_params

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
CANNOT = {
    "make ": "makes a virtual environment, from the network; a fast test has the targets",
    "python -m tools.own_pictures": "fetches up to 161 MB",
    "dvc exp run -S dataset=../two": "needs what that fetches",
    "dvc exp run -S dataset=../my-pictures": "minutes, and tests/test_dag.py runs it on a folder",
    "dvc remote add": "needs a bucket; tests/test_dag.py does the same with a folder",
    "git tag": "as before",
    "dvc artifacts get": "as before",
    "python -m thaw.predict --model partial": "needs what that gets",
}
"""How commands begin that do not run here, and why."""


def console_commands() -> list[str]:
    """Return each command of the console blocks once, without its comment, in order."""
    blocks = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)", "\n".join(blocks), re.MULTILINE)
    return list(dict.fromkeys(re.sub(r" +# .*", "", command) for command in found))


def set_params(command: str) -> list[str]:
    """Return what a command sets by -S; of a sweep, the first value."""
    words = shlex.split(command)
    chosen = [words[i + 1] for i, word in enumerate(words) if word == "-S"]
    return [re.sub(r"=([^\[,]+),.*", r"=\1", choice) for choice in chosen]


RUNNABLE = [command for command in console_commands() if not command.startswith(tuple(CANNOT))]
SETTING = sorted({part for part in re.findall(r"`([^`]*-S [^`.][^`]*)`", TEXT) if ".." not in part})


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"(?:`|^\$ )make ([a-z][a-z-]*)", TEXT, re.MULTILINE)
    assert len(set(named)) > 3
    for target in named:
        assert re.search(rf"^([a-z-]+ )*{target}( [a-z-]+)*:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("command", SETTING)
def test_the_params_that_are_set_are_valid(tmp_path: Path, command: str) -> None:
    """As DVC sets them, in the table of questions and in running text."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(tmp_path / "params.yaml", set_params(command))
    load_params(tmp_path)


@pytest.fixture(scope="module")
def _pictures(first: tuple[Project, str]) -> None:
    """The pictures that the pages speak of, beside the project and in it."""
    root = first[0].root
    photographs = {"chelsea": data.chelsea(), "apple": data.coffee()}
    for name, photograph in photographs.items():
        (root.parent / "my-pictures" / name).mkdir(parents=True)
        for i in range(12):
            crop = Image.fromarray(photograph[7 * i : 7 * i + 200, 9 * i : 9 * i + 200])
            crop.save(root.parent / f"my-pictures/{name}/{i}.jpg")
    shutil.copytree(root.parent / "my-pictures", root.parent / "new-pictures")


@pytest.mark.slow
@pytest.mark.usefixtures("_pictures")
@pytest.mark.parametrize("command", RUNNABLE)
def test_a_console_command_runs(project: Project, command: str) -> None:
    if "--format onnx" in command and find_spec("tf2onnx") is None:
        pytest.skip("needs `make export-setup`")
    for name in ("chelsea", "apple"):
        shutil.copy(project.root.parent / f"my-pictures/{name}/0.jpg", project.root / f"{name}.png")
    project.run("sh", "-c", command)
