"""Experiments two at a time: python -m tests.reliability.queued [--rounds N] [--size N].

In each round so many experiments of a tiny project, each with another `freeze`, are queued and run
by two workers; all must succeed. Those of the first round are then run one after the other, on a
cache of their own, and must give the same metrics.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.reliability.project import Project, create
from tools import dvc_queue

METRICS = "metrics/partial.json"
SECONDS = 300
"""That one experiment may take."""
LOOKS = 5
"""That must find nothing to do: some may fall between two experiments."""


def queued(project: Project, values: range) -> int:
    """Run one round by the queue, until nobody works on it; return how many succeeded."""
    for value in values:
        project.dvc("exp", "run", "--queue", "--name", f"freeze-{value}", "-S", f"freeze={value}")
    project.dvc("queue", "start", "--jobs", "2")
    deadline = time.monotonic() + SECONDS * len(values)
    idle = 0
    while idle < LOOKS and time.monotonic() < deadline:
        time.sleep(3)
        idle = 0 if dvc_queue.look(project.root).busy else idle + 1
    return sum(metrics(project, value) is not None for value in values)


def stop(project: Project) -> None:
    """End the workers, or they would outlive their folder.

    Not between rounds: workers that have gone by then leave DVC's message to stop to the next ones,
    who stop after one experiment each.
    """
    project.dvc("queue", "stop", "--kill", code=None)


def metrics(project: Project, value: int) -> dict[str, object] | None:
    """Return what an experiment of the queue gave, None where it did not succeed."""
    listed = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    for reference in listed:
        if reference.endswith(f"/freeze-{value}"):
            content: dict[str, object] = json.loads(
                project.run("git", "show", f"{reference}:{METRICS}")
            )
            return content
    return None


def serial(project: Project, value: int) -> dict[str, object]:
    """Return what the same experiment gives in the workspace of another project."""
    project.dvc("exp", "run", "-S", f"freeze={value}")
    content: dict[str, object] = json.loads((project.root / METRICS).read_text(encoding="utf-8"))
    return content


def main() -> None:
    """Print a line for each round; end with 1 where an experiment failed or differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.queued")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--size", type=int, default=12, help="experiments in a round")
    options = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        parallel, alone = create(Path(one)), create(Path(other))
        for project in (parallel, alone):
            project.reproduce()
        print("| Round | Experiments | Succeeded | As when run one by one |\n|---|---|---|---|")
        try:
            for number in range(options.rounds):
                values = range(1 + number * options.size, 1 + (number + 1) * options.size)
                succeeded = queued(parallel, values)
                wrong += options.size - succeeded
                same = "not compared"
                if number == 0:
                    equal = sum(metrics(parallel, v) == serial(alone, v) for v in values)
                    wrong += options.size - equal
                    same = str(equal)
                print(f"| {number + 1} | {options.size} | {succeeded} | {same} |", flush=True)
        finally:
            stop(parallel)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
