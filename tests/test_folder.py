"""In which folders DVC's queue works, and what is said in the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from tests.reliability.project import Project
from tools.folder import unfit
from tools.study.__main__ import check_folder

FIT = """a b'c"d%20e$f,g;h[i]j&k=l+m~n(o)!p|q<r>s^t`u\\v*w:x@y"""
UNFIT = {"a#b": "#", "é日é": "é日", "a?b": "?", "a\nb\tc": "\n\t", "\udcff": "\udcff"}
BRACES = {"a{b}": "{}"}


@pytest.mark.parametrize(("name", "characters"), [*UNFIT.items(), *BRACES.items(), (FIT, "")])
def test_what_dvcs_queue_cannot_take_is_found(name: str, characters: str) -> None:
    assert unfit(Path("/home") / name) == characters


@pytest.mark.parametrize("name", ["a#b", "é"])
def test_study_says_so_before_anything_is_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    with pytest.raises(SystemExit, match=r"error: .*`make study` do not.*Received: .*Move"):
        check_folder()
    monkeypatch.chdir(tmp_path)
    check_folder()


@pytest.mark.parametrize(
    ("name", "code", "said"), [("a#b", 0, "note: "), ("a{b}", 1, "error: "), ("a b", 0, "")]
)
def test_make_repro_refuses_only_where_it_would_fail(
    tmp_path: Path, name: str, code: int, said: str
) -> None:
    (tmp_path / name).mkdir()
    ended = subprocess.run(
        (sys.executable, "-m", "tools.folder"),
        cwd=tmp_path / name,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert ended.stderr.startswith(said)
    assert bool(ended.stderr) == bool(said)


PIPELINE = "stages:\n  one:\n    cmd: echo 1 > out\n    params: [x]\n    outs: [out]\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(name for name in UNFIT if name.isprintable()), *BRACES, FIT])
def test_dvc_fails_in_just_these(tmp_path: Path, name: str) -> None:
    """Should DVC have learnt it, tools/folder.py may go."""
    root = tmp_path / name
    root.mkdir()
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("x: 1\n")
    project = Project(root)
    project.run("git", "init", "--quiet")
    project.dvc("init", "--quiet")
    project.commit()
    project.dvc("repro", code=255 if name in BRACES else 0)
    project.dvc("exp", "run", "--temp", "-S", "x=2", code=0 if name == FIT else 255)
