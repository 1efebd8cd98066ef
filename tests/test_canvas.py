import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import ROOT
from imports import imported_names

from thaw.report import figures
from thaw.report.canvas import rc_context, save_image

DRAW = """
import sys
from pathlib import Path
import numpy as np
from thaw.report import figures
from thaw.report.canvas import save_image
figures.bars(Path("bars.png"), {"a": 0.2, "b": 0.9}, "Title", "accuracy")
with open("image.png", "wb") as file:
    save_image(file, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
"""
HOSTILE = {
    "axes.facecolor": "black",
    "savefig.facecolor": "black",
    "text.usetex": True,
    "image.origin": "lower",
    "font.family": "serif",
}


def digests(folder: Path) -> list[str]:
    paths = (folder / "bars.png", folder / "image.png")
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def drawn(folder: Path) -> list[str]:
    figures.bars(folder / "bars.png", {"a": 0.2, "b": 0.9}, "Title", "accuracy")
    with (folder / "image.png").open("wb") as file:
        save_image(file, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    return digests(folder)


def test_settings_made_before_change_no_figure(tmp_path: Path) -> None:
    expected = drawn(tmp_path)
    with rc_context(HOSTILE):
        assert drawn(tmp_path) == expected


def test_the_users_files_and_variables_change_no_figure(tmp_path: Path) -> None:
    """One that is not text would end the import of matplotlib, if it were read."""
    (tmp_path / "matplotlibrc").write_bytes(b"text: \xff\n")
    hostile = {"MPLBACKEND": "nonsense", "PYTHONPATH": str(ROOT)}
    hostile |= {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    command = [sys.executable, "-W", "error", "-c", DRAW]
    ended = subprocess.run(
        command, cwd=tmp_path, env=os.environ | hostile, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    received = digests(tmp_path)
    assert received == drawn(tmp_path)


def test_nothing_else_imports_matplotlib() -> None:
    """It would be read with the user's files, whichever module imports it first."""
    folders = ("thaw", "stages", "tools", "benchmarks", "pretrain")
    for path in (path for folder in folders for path in (ROOT / folder).glob("*.py")):
        names = {name.split(".")[0] for name in imported_names(path)}
        assert "matplotlib" not in names or path.name == "canvas.py", path
