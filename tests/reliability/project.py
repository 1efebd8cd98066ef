"""A copy of this project with few images, and a git repository and DVC cache of its own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from thaw.data.mirrors import FOLDER_VARIABLE
from thaw.support.paths import PRIVATE
from thaw.support.yaml_file import read_yaml
from tools.commands import DVC, git

ROOT = Path(__file__).parents[2]
IDENTITY = {
    f"GIT_{role}_{what}": "tester@example.org"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
} | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""Who commits in scratch repositories, by no settings of the user's, for git and DVC."""
ELSEWHERE = ("GIT_", "DVC_")
"""How variables begin that may name another repository: git's hooks export GIT_DIR."""
TINY_TRAINING = {"images": 40, "epochs": 2, "batch_size": 20}


def tiny_params() -> dict[str, Any]:
    """Return params.yaml's entries, at a size that runs in a minute or two."""
    params: dict[str, Any] = read_yaml(ROOT / "params.yaml")
    params["samples"] |= {"train": 100, "validation": 40, "test": 40}
    params["weights"] = "random"
    params |= {"baseline": {"image_size": 48, "images": 10, "linear_images": 50}, "freeze": 10}
    for mode in ("train_frozen", "train_full", "train_partial"):
        params[mode] |= TINY_TRAINING
    params["train_partial"]["epochs"] = 3
    params["diagnose"] |= {"images": 20, "validation_images": 20, "epochs": 1}
    return params


def copy_files(to: Path) -> None:
    """Copy what git knows, or would take, to `to`."""
    known = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listed = git(*known, root=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, to / name)


def environment() -> dict[str, str]:
    """Return what stages run with: this Python's tools, and the images where they are here."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    raw = ROOT / "data/fashion-mnist"
    near = {FOLDER_VARIABLE: str(raw)} if raw.is_dir() else {}
    shell = {name: value for name, value in os.environ.items() if not name.startswith(ELSEWHERE)}
    return {**shell, **IDENTITY, **near, "PATH": path}


class Project:
    """A project in `root`, and how commands are run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(
        self, *command: str, code: int | None = 0, changes: Mapping[str, str] | None = None
    ) -> str:
        """Run a command with `changes` to the environment; return what it prints.

        Raises:
            RuntimeError: it does not end with `code`; None takes any.

        """
        ended = subprocess.run(
            command,
            cwd=self.root,
            env=environment() | dict(changes or {}),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        said = ended.stdout + ended.stderr
        if code is not None and ended.returncode != code:
            raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{said}")
        return said

    def dvc(self, *arguments: str, code: int | None = 0) -> str:
        """Run DVC, as `run` does."""
        return self.run(*DVC, *arguments, code=code)

    def reproduce(self) -> str:
        """Run all stages and commit what they give; return what DVC prints."""
        said = self.dvc("repro")
        self.commit()
        return said

    def commit(self) -> None:
        """Commit everything, changed or not."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "results")

    def reset(self) -> None:
        """Bring back what was committed, and nothing else, whatever a stage left beside it."""
        shutil.rmtree(self.root / PRIVATE, ignore_errors=True)
        self.run("git", "checkout", "--quiet", "--force", "HEAD")
        self.run("git", "clean", "--quiet", "--force", "-d")
        self.dvc("checkout", "--force", "--quiet")

    def changed(self) -> str:
        """Return what differs from the commit, "" for nothing; dvc.lock holds every digest."""
        status = self.dvc("status")
        differs = "" if "up to date" in status else status
        return self.run("git", "status", "--porcelain") + differs


def create(root: Path) -> Project:
    """Return a project with tiny params, committed, of which nothing has run."""
    copy_files(root)
    (root / "params.yaml").write_text(yaml.safe_dump(tiny_params(), sort_keys=False))
    project = Project(root)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.commit()
    return project
