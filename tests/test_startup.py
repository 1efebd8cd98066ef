"""What thaw does as it is loaded: nothing hangs on the user's keras.json, and -OO is refused."""

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT
from keras.src.backend import config

from thaw.support.environment import USERS_KERAS_HOME, keras_home


@pytest.mark.parametrize(
    "content",
    ["[1, 2]", "{", '{"floatx": "float64"}', '{"floatx": []}', '{"epsilon": 1}', None],
    ids=["list", "broken", "other", "unhashable", "integer", "folder"],
)
def test_keras_reads_no_keras_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    if content is None:
        (tmp_path / "keras.json").mkdir()
    else:
        (tmp_path / "keras.json").write_text(content)
    monkeypatch.setenv(USERS_KERAS_HOME, "another")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    runpy.run_path(str(ROOT / "thaw/__init__.py"))
    seen = runpy.run_path(config.__file__)
    assert seen["_FLOATX"] == "float32"
    assert os.environ[USERS_KERAS_HOME] == str(tmp_path)


def test_a_program_that_thaw_starts_learns_of_the_users_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(USERS_KERAS_HOME, "/theirs")
    monkeypatch.setenv("KERAS_HOME", os.devnull)
    runpy.run_path(str(ROOT / "thaw/__init__.py"))
    assert os.environ[USERS_KERAS_HOME] == "/theirs"


@pytest.mark.parametrize("home", [None, ""])
def test_without_keras_home_it_is_keras_own(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.setenv(USERS_KERAS_HOME, "another")
    monkeypatch.delenv("KERAS_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("KERAS_HOME", home)
    runpy.run_path(str(ROOT / "thaw/__init__.py"))
    assert os.environ[USERS_KERAS_HOME] == "~/.keras"


def test_a_notebooks_keras_has_its_folder_back() -> None:
    """After thaw.support.runtime was imported, that is: importing Keras is over by then."""
    assert config.keras_home() == str(keras_home())


def test_without_a_home_keras_folder_is_a_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    assert keras_home() == Path(tempfile.gettempdir()) / ".keras"


def test_python_without_docstrings_is_refused() -> None:
    command = [sys.executable, "-OO", "-m", "stages.weights"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: TensorFlow and scikit-image do not load without docs")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("under_dvc", [False, True])
def test_only_a_stage_of_dvcs_looks_for_its_dvc(
    monkeypatch: pytest.MonkeyPatch, under_dvc: bool
) -> None:
    """`import thaw` loads nothing else that takes time: everything imports it."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    if under_dvc:
        monkeypatch.setenv("DVC_STAGE", "some")
    command = [sys.executable, "-c", "import sys, thaw; print('psutil' in sys.modules)"]
    assert subprocess.check_output(command, cwd=ROOT, text=True).strip() == str(under_dvc)
