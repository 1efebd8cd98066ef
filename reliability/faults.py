"""Stages killed at random moments: python -m reliability.faults [--times N] [--stages NAME ..].

A stage of a tiny project is started by `dvc repro`, and its processes are killed (SIGKILL) or
interrupted (SIGINT, as Ctrl-C does) before it would have ended. Then the stage must run again, over
what that left, and git must see the bytes of an undisturbed run. It is forced to: DVC would bring
back what it has in its cache. Where the fault left a checkpoint, training must go on from there. A
fault is counted where the run was still going.

DVC writes dvc.lock in place. Killed while it does, it refuses the file from then on, and says so:
what git has of it is brought back, as a user would, and that is counted.
"""

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from reliability.project import DVC, Project, create, environment
from thaw.stage import PRIVATE

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT}
PATIENCE = 60
"""Seconds that an interrupted run may take to end."""
HEADER = """| Stage | takes | Signal | Faults | Survived | trained on | dvc.lock from git |
|---|---|---|---|---|---|---|"""
"""Trained on: left a checkpoint, from which training went on."""
GOING_ON = "going on after epoch"
"""What training says of a checkpoint."""
CUT_OFF = ("'./dvc.lock' is invalid", "'./dvc.lock' validation failed")
"""What DVC says of a dvc.lock that it did not write to its end."""


class Tally(NamedTuple):
    """How many faults there were, were survived, left training to go on, and a broken dvc.lock."""

    faults: int
    survived: int
    went_on: int
    with_lock_from_git: int


def start(project: Project, stage: str) -> subprocess.Popen[bytes]:
    """Run a stage anew in a process group of its own, so that all of it can be signalled."""
    return subprocess.Popen(
        (*DVC, "repro", "--force", "--single-item", stage),
        cwd=project.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def wait_for_stage(running: subprocess.Popen[bytes]) -> None:
    """Return when DVC says that it runs the stage: before, there is nothing to disturb."""
    assert running.stdout
    for line in running.stdout:
        if line.startswith(b"Running stage"):
            return


def seconds(project: Project, stage: str) -> float:
    """Return how long a stage takes once DVC has started it, and DVC after it."""
    running = start(project, stage)
    wait_for_stage(running)
    begin = time.monotonic()
    running.communicate()
    return time.monotonic() - begin


def disturb(project: Project, stage: str, number: signal.Signals, after: float) -> bool:
    """Signal a stage so many seconds after its start; return whether it had not ended before."""
    running = start(project, stage)
    wait_for_stage(running)
    try:
        running.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, number)
        _end(running)
        return True
    return False


def _end(running: subprocess.Popen[bytes]) -> None:
    try:
        running.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def is_begun(project: Project, stage: str) -> bool:
    """Return whether training left a checkpoint."""
    checkpoints = project.root / PRIVATE / "checkpoints"
    return any(checkpoints.glob(f"{stage}-*/[!.]*"))


def recovers(project: Project, stage: str) -> str:
    """Return what is wrong after `stage` and `dvc repro` ran again, "" for nothing."""
    begun = is_begun(project, stage)
    try:
        said = project.dvc("repro", "--force", "--single-item", stage)
        project.dvc("repro")
    except RuntimeError as error:
        return str(error)
    if begun and GOING_ON not in said:
        return f"training started over:\n{said}"
    return project.changed()


def bring_back_lock(project: Project, wrong: str) -> bool:
    """Take dvc.lock from git where that is what is wrong; return whether it was."""
    cut_off = any(message in wrong for message in CUT_OFF)
    if cut_off:
        project.run("git", "checkout", "--", "dvc.lock")
    return cut_off


def arguments(module: str, kinds_name: str, kinds: Iterable[str], times: int) -> argparse.Namespace:
    """Return what a command line asks for: times, stages, kinds and seed."""
    stages = list(yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"])
    kinds = list(kinds)
    parser = argparse.ArgumentParser(prog=f"python -m reliability.{module}")
    parser.add_argument("--times", type=int, default=times, help="for each stage and kind")
    parser.add_argument("--stages", nargs="+", choices=stages, default=stages)
    parser.add_argument(kinds_name, dest="kinds", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    return parser.parse_args()


def survived(project: Project, what: str, wrong: str) -> bool:
    """Return whether nothing is wrong; else say it, and bring back what was committed."""
    if wrong:
        print(f"{what}: {wrong}", file=sys.stderr)
        project.reset()
    return not wrong


def moments(draw: random.Random, whole: float) -> Iterator[float]:
    """Draw moments within so many seconds, without end."""
    while True:
        yield draw.uniform(0, whole)


def tried(project: Project, stage: str, name: str, after: Iterator[float], times: int) -> Tally:
    """Signal a stage until it was going on so many times, or always ends before."""
    hits = well = begun = mended = 0
    for moment in itertools.islice(after, 3 * times):
        if hits == times:
            break
        if not disturb(project, stage, SIGNALS[name], moment):
            continue
        hits += 1
        begun += is_begun(project, stage)
        wrong = recovers(project, stage)
        if bring_back_lock(project, wrong):
            mended += 1
            wrong = recovers(project, stage)
        well += survived(project, f"{stage}, {name}", wrong)
    return Tally(hits, well, begun, mended)


def main() -> None:
    """Print a line for each stage; end with 1 where a fault was not survived."""
    options = arguments("faults", "--signals", SIGNALS, times=20)
    draw = random.Random(options.seed)
    lost = 0
    with tempfile.TemporaryDirectory() as folder:
        project = create(Path(folder))
        project.reproduce()
        print(HEADER)
        for stage in options.stages:
            whole = seconds(project, stage)
            for name in options.kinds:
                tally = tried(project, stage, name, moments(draw, whole), options.times)
                lost += tally.faults - tally.survived
                row = (stage, f"{whole:.0f} s", name, *tally)
                print(f"| {' | '.join(map(str, row))} |", flush=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
