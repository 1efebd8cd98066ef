"""The one way back to the committed results, from each state that people get into. Minutes."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability import faults
from tests.reliability.project import Project
from thaw.support.yaml_file import read_yaml
from tools.verdict import GO_BACK

pytestmark = pytest.mark.slow
MODEL, WEIGHTS = "data/models/frozen", "model.weights.h5"


def digests(project: Project) -> dict[str, str]:
    stages = read_yaml(project.root / "dvc.lock")["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def cached(project: Project, digest: str) -> Path:
    return project.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def go_back(project: Project) -> None:
    """Take the way back, which keeps the user's own files, staged or not."""
    (project.root / "notes.txt").write_text("mine")
    (project.root / "staged.txt").write_text("mine")
    project.run("git", "add", "staged.txt")
    project.run("sh", "-c", GO_BACK)
    assert project.run("git", "status", "--porcelain") == "A  staged.txt\n?? notes.txt\n"
    project.run("git", "rm", "--quiet", "--force", "staged.txt")
    (project.root / "notes.txt").unlink()


def mistyped(project: Project) -> None:
    project.dvc("exp", "run", "--set-param", "freeze=176", code=255)
    assert (project.root / "data/models/partial").exists(), "stage check ends the run before"


def killed(project: Project) -> None:
    """In the middle of a training: its outputs are gone, and DVC's list of paths in use is left."""
    running = faults.start(project, "train-frozen")
    faults.wait_for_stage(running)
    while not faults.checkpoints(project, "train-frozen"):
        assert running.poll() is None
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def applied(project: Project) -> None:
    project.dvc("exp", "run", "--set-param", "freeze=20", "--name", "applied")
    project.run("sh", "-c", GO_BACK)
    project.dvc("exp", "apply", "applied")
    assert json.loads((project.root / "metrics/partial.json").read_text())


@pytest.mark.parametrize("state", [mistyped, killed, pytest.param(applied, marks=pytest.mark.long)])
def test_from_what_the_cache_has(project: Project, state: Callable[[Project], None]) -> None:
    state(project)
    assert project.changed()
    go_back(project)
    assert project.changed() == ""


@pytest.fixture
def other_processor(project: Project, tmp_path: Path) -> Iterator[Project]:
    """The project as if train-frozen had run here first, with other bytes than the committed."""
    cache = project.root / ".dvc/cache"
    shutil.copytree(cache, tmp_path / "cache")
    committed = cached(project, digests(project)[MODEL])
    listed = {file["relpath"]: file["md5"] for file in json.loads(committed.read_text())}
    (project.root / MODEL / WEIGHTS).write_text("another processor's")
    (project.root / "metrics/frozen.json").write_text("{}\n")
    project.dvc("commit", "--force", "train-frozen")
    project.run("git", "add", "dvc.lock")  # as `dvc repro` does
    committed.unlink()
    cached(project, listed[WEIGHTS]).unlink()  # and not model.json, which is the same everywhere
    yield project
    shutil.rmtree(cache)
    (tmp_path / "cache").rename(cache)


def test_from_another_processors_results(other_processor: Project) -> None:
    """What the cache has not is missing then, not a mixture, and `dvc repro` makes it."""
    project = other_processor
    assert digests(project)[MODEL] not in project.run("git", "show", "HEAD:dvc.lock")
    go_back(project)
    assert not (project.root / MODEL).exists()
    assert list(json.loads(project.dvc("status", "--json"))) == ["train-frozen"]
    project.dvc("repro", "train-frozen")
    assert "up to date" in project.dvc("status", "train-frozen")


@pytest.mark.long
def test_in_a_linked_worktree(project: Project, tmp_path: Path) -> None:
    """Which has a cache of its own, without the committed outputs."""
    linked = Project(tmp_path / "linked")
    project.run("git", "worktree", "add", "--quiet", "--detach", str(linked.root))
    try:
        linked.dvc("repro", "download", "weights")
        linked.dvc("exp", "run", "weights", "--set-param", "seed=7")
        go_back(linked)
        assert not (linked.root / MODEL).exists()
        assert "up to date" in linked.dvc("status", "weights")
    finally:
        project.run("git", "worktree", "remove", "--force", str(linked.root))
