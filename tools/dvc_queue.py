"""The state of DVC's queue of experiments, read from DVC's Python objects.

`dvc queue status` prints tables for people, whose columns are hard to take apart.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo


@dataclass(frozen=True)
class Queue:
    """The queue at one moment.

    Attributes:
        states: the name and the state of each task's experiment. The name is "" if it has none, and
            the state is Running, Queued, Failed or Success. The same name occurs several times if
            its experiment also ended at earlier commits.
        workers: how many workers are alive, including idle ones.

    """

    states: tuple[tuple[str, str], ...]
    workers: int

    def names(self, *states: str) -> set[str]:
        """Return the names of the experiments in any of these states."""
        return {name for name, state in self.states if state in states}

    @property
    def pending(self) -> set[str]:
        """The names of experiments that wait or run."""
        return self.names("Queued", "Running")

    @property
    def busy(self) -> bool:
        """Whether a worker is alive and an experiment waits or runs."""
        return bool(self.workers and self.pending)


def look(root: Path = Path()) -> Queue:
    """Return the state of the queue of the project in `root`. This takes about a second.

    If DVC cannot read the queue, end the process with its message.
    """
    try:
        with Repo(str(root)) as repo:
            tasks = repo.experiments.celery_queue
            states = tuple((task["name"] or "", task["status"]) for task in tasks.status())
            return Queue(states, len(tasks.worker_status()))
    except DvcException as error:
        sys.exit(f"error: DVC's queue cannot be read: {error}")
