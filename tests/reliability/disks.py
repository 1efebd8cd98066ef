"""Stages on a disk that is full or read-only: python -m tests.reliability.disks [--times N].

Linux only. A tiny project lies on a disk in memory (tmpfs), in a mount namespace of this process'
own, which needs no root where user namespaces are allowed. For each stage the disk is filled but
for a random part of what the stage writes, and DVC runs it; or made read-only, and the stage runs
alone, since DVC itself would not begin. It must end with an error and no traceback, and on a mended
disk `dvc repro`, and the stage made to run again, with the bytes of an undisturbed run. A file of
DVC's own that the full disk cut off is mended as after a kill: see `tests.reliability.faults`.
"""

import argparse
import itertools
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.reliability.faults import arguments, recovered, survived
from tests.reliability.project import Project, create

SIZE = 6 * 10**9
"""Of the disk, bytes: the tiny project with its cache takes 2 GB."""
INSIDE = "THAW_IN_MOUNT_NAMESPACE"
NAMESPACE = ("unshare", "--map-root-user", "--mount")
KINDS = ("full", "read-only")


def outputs(entry: dict[str, Any]) -> list[str]:
    """Return the paths that a stage of dvc.yaml writes."""
    listed = [out for kind in ("outs", "metrics", "plots") for out in entry.get(kind, ())]
    return [path for out in listed for path in ([out] if isinstance(out, str) else out)]


@contextmanager
def full(project: Project, stage: str, share: float) -> Iterator[None]:
    """Leave room for a share of a stage's outputs only, and none of those in the workspace."""
    entry = yaml.safe_load((project.root / "dvc.yaml").read_text(encoding="utf-8"))
    written = 0
    for name in outputs(entry["stages"][stage]):
        path = project.root / name
        written += sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    ballast = project.root.parent / "ballast"
    with ballast.open("wb") as file:
        room = shutil.disk_usage(project.root).free - int(share * written)
        os.posix_fallocate(file.fileno(), 0, room)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(project: Project) -> Iterator[None]:
    """Let nothing be written."""
    mount("remount,ro", project.root.parent)
    try:
        yield
    finally:
        mount("remount,rw", project.root.parent)


def mount(options: str, folder: Path) -> None:
    """Mount a disk in memory."""
    subprocess.run(("mount", "-t", "tmpfs", "-o", options, "none", folder), check=True)


@contextmanager
def disk_in_memory() -> Iterator[Path]:
    """Return a folder on a disk of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        mount(f"size={SIZE}", Path(folder))
        try:
            project = Path(folder) / "project"
            project.mkdir()
            yield project
        finally:
            subprocess.run(("umount", folder), check=True)


def ends_with_an_error(project: Project, stage: str, kind: str) -> str:
    """Return what is wrong with how a stage ends that cannot write, "" for nothing.

    On a full disk the stage may have had room enough, and DVC not, which keeps a copy.
    """
    errors = [f"error in stage {stage}"]
    try:
        if kind == "full":
            said = project.dvc("repro", "--force", "--single-item", stage, code=255)
            errors.append("ERROR")
        else:
            said = project.run(sys.executable, "-m", f"stages.{stage.replace('-', '_')}", code=1)
    except RuntimeError as error:
        return str(error)
    told = any(error in said for error in errors) and "Traceback" not in said
    return "" if told else said


def usable() -> bool:
    """Return whether this machine lets this process mount a disk of its own."""
    if not shutil.which("unshare"):
        return False
    command = (*NAMESPACE, "mount", "-t", "tmpfs", "none", tempfile.gettempdir())
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def lost_on(project: Project, options: argparse.Namespace) -> int:
    """Print a line for each stage and kind of disk; return how often a stage did not survive it."""
    shares = random.Random(options.seed)
    lost = 0
    print("| Stage | Disk | Tried | Survived | file cut off |\n|---|---|---|---|---|")
    for stage, kind in itertools.product(options.stages, options.kinds):
        well = mended = 0
        for _ in range(options.times):
            share = shares.random()
            with full(project, stage, share) if kind == "full" else read_only(project):
                wrong = ends_with_an_error(project, stage, kind)
            after, was_cut_off = recovered(project, stage)
            mended += was_cut_off
            well += survived(project, f"{stage}, {kind}", wrong or after)
        lost += options.times - well
        print(f"| {stage} | {kind} | {options.times} | {well} | {mended} |", flush=True)
    return lost


def main() -> None:
    """Print a line for each stage and kind; end with 1 where one was not survived."""
    options = arguments("disks", "--kinds", KINDS, times=5)
    if INSIDE not in os.environ:
        if not usable():
            sys.exit("error: this machine lets no process mount a disk of its own (unshare, tmpfs)")
        os.environ[INSIDE] = "1"
        command = (*NAMESPACE, sys.executable, "-m", "tests.reliability.disks", *sys.argv[1:])
        os.execvp(command[0], command)
    with disk_in_memory() as folder:
        project = create(folder)
        project.reproduce()
        lost = lost_on(project, options)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
