"""Stages killed at random moments: python -m tests.reliability.faults [--times N] [--stages ..].

A stage of a tiny project is started by `dvc repro`, and its processes are killed (SIGKILL) or
interrupted (SIGINT, as Ctrl-C does) before it would have ended. Then `dvc repro` must end well, and
git must see the bytes of an undisturbed run. It brings back what DVC has in its cache; so the stage
is also made to run again over what the fault left, and must give the same bytes. Where that was a
checkpoint, training must go on from it. A fault is counted where the run was still going.

DVC writes dvc.lock and its own .dvc/tmp/rwlock in place. Killed while it does, it refuses the file
from then on, and says so (DVC issue 7615). What git has of the first is brought back, and the
second removed, as a user would; that is counted as a file cut off.
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

from tests.reliability.project import Project, create, environment
from thaw.support.paths import PRIVATE
from thaw.support.stage import GOING_ON
from tools.commands import DVC

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT}
PATIENCE = 60
"""Seconds that an interrupted run may take to end."""
HEADER = """| Stage | takes | Signal | Faults | Survived | left checkpoints | file cut off |
|---|---|---|---|---|---|---|"""
CUT_OFF = ("'./dvc.lock' is invalid", "'./dvc.lock' validation failed")
"""What DVC says of a dvc.lock that it did not write to its end."""
RWLOCK, RWLOCK_CUT_OFF = ".dvc/tmp/rwlock", "Unable to read RWLock-file"
"""Which paths are in use, and what DVC says where it did not write that to its end."""


class Tally(NamedTuple):
    """How many faults there were, and of those, how many did what."""

    faults: int
    survived: int
    left_checkpoints: int
    cut_off: int


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
    """Return when DVC says that it runs the stage: before, there is nothing to disturb.

    Raises:
        RuntimeError: it never does.

    """
    assert running.stdout
    said = []
    for line in running.stdout:
        if line.startswith(b"Running stage"):
            return
        said.append(line.decode())
    raise RuntimeError(f"DVC did not run the stage:\n{''.join(said)}")


def check_ended_well(running: subprocess.Popen[bytes], said: bytes) -> None:
    """Hold a run that nobody disturbed to its exit code.

    Raises:
        RuntimeError: that is not 0.

    """
    if running.returncode:
        raise RuntimeError(f"the stage failed undisturbed:\n{said.decode()}")


def seconds(project: Project, stage: str) -> float:
    """Return how long a stage takes once DVC has started it, and DVC after it."""
    running = start(project, stage)
    wait_for_stage(running)
    begin = time.monotonic()
    check_ended_well(running, running.communicate()[0])
    return time.monotonic() - begin


def disturb(project: Project, stage: str, number: signal.Signals, after: float) -> bool:
    """Signal a stage so many seconds after its start; return whether it had not ended before."""
    running = start(project, stage)
    wait_for_stage(running)
    try:
        check_ended_well(running, running.communicate(timeout=after)[0])
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


def checkpoints(project: Project, stage: str) -> int:
    """Return how many checkpoints a stage's trainings left; its seeds and cells have one each."""
    return len(list((project.root / PRIVATE / "checkpoints").glob(f"{stage}-*/[!.]*")))


def recovers(project: Project, stage: str) -> str:
    """Return what is wrong after `dvc repro`, or after `stage` ran again, "" for nothing."""
    left = checkpoints(project, stage)
    try:
        project.dvc("repro")
        if wrong := project.changed():
            return wrong
        said = project.dvc("repro", "--force", "--single-item", stage)
    except RuntimeError as error:
        return str(error)
    if said.count(GOING_ON) < left:
        return f"{left} checkpoints were left, but not all trainings went on from theirs:\n{said}"
    return project.changed()


def mend(project: Project, wrong: str) -> bool:
    """Do what a user does about a file of DVC's that was cut off; return whether one was."""
    if any(message in wrong for message in CUT_OFF):
        project.run("git", "checkout", "--", "dvc.lock")
    elif RWLOCK_CUT_OFF in wrong:
        (project.root / RWLOCK).unlink()
    else:
        return False
    return True


def recovered(project: Project, stage: str) -> tuple[str, bool]:
    """Return what is wrong after a fault, and whether a file of DVC's had to be mended first."""
    wrong = recovers(project, stage)
    if not mend(project, wrong):
        return wrong, False
    return recovers(project, stage), True


def arguments(module: str, kinds_name: str, kinds: Iterable[str], times: int) -> argparse.Namespace:
    """Return what a command line asks for: times, stages, kinds and seed."""
    stages = list(yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"])
    kinds = list(kinds)
    parser = argparse.ArgumentParser(prog=f"python -m tests.reliability.{module}")
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
    hits = well = left = mended = 0
    for moment in itertools.islice(after, 3 * times):
        if hits == times:
            break
        if not disturb(project, stage, SIGNALS[name], moment):
            continue
        hits += 1
        left += checkpoints(project, stage) > 0
        wrong, was_cut_off = recovered(project, stage)
        mended += was_cut_off
        well += survived(project, f"{stage}, {name}", wrong)
    return Tally(hits, well, left, mended)


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
                lost += options.times - tally.survived  # what could not be tried, too
                row = (stage, f"{whole:.0f} s", name, *tally)
                print(f"| {' | '.join(map(str, row))} |", flush=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
