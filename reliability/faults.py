"""Stages killed at random moments: python -m reliability.faults [--times N] [--stages NAME ..].

A stage of a tiny project is started by `dvc repro`, and its processes are killed (SIGKILL) or
interrupted (SIGINT, as Ctrl-C does) before it would have ended. Then `dvc repro` must end well, and
git must see the bytes of an undisturbed run. A fault is counted where the run was still going.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from reliability.project import DVC, Project, create, environment

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT}
PATIENCE = 60
"""Seconds that an interrupted run may take to end."""


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


def recovers(project: Project) -> str:
    """Return what is wrong after `dvc repro`, "" for nothing."""
    try:
        project.dvc("repro")
    except RuntimeError as error:
        return str(error)
    return project.changed()


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


def main() -> None:
    """Print a line for each stage; end with 1 where a fault was not survived."""
    options = arguments("faults", "--signals", SIGNALS, times=20)
    moments = random.Random(options.seed)
    lost = 0
    with tempfile.TemporaryDirectory() as folder:
        project = create(Path(folder))
        project.reproduce()
        print("| Stage | takes | Signal | Faults | Survived |\n|---|---|---|---|---|")
        for stage in options.stages:
            whole = seconds(project, stage)
            for name in options.kinds:
                hits = well = 0
                for _ in range(options.times):
                    if not disturb(project, stage, SIGNALS[name], moments.uniform(0, whole)):
                        continue
                    hits += 1
                    well += survived(project, f"{stage}, {name}", recovers(project))
                lost += hits - well
                print(f"| {stage} | {whole:.0f} s | {name} | {hits} | {well} |", flush=True)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
