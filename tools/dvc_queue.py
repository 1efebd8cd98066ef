"""What DVC's queue of experiments is doing, from DVC's own objects and not from what it prints."""

import sys
from dataclasses import dataclass
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo


@dataclass(frozen=True)
class Queue:
    """The queue at one moment.

    Attributes:
        states: of each task: its experiment's name, "" where it has none, and Running, Queued,
            Failed or Success. A name may occur several times: it ended at earlier commits, too.
        workers: how many are alive, busy or not.

    """

    states: tuple[tuple[str, str], ...]
    workers: int

    def names(self, *states: str) -> set[str]:
        """Return the names of experiments that are in one of these states."""
        return {name for name, state in self.states if state in states}

    @property
    def pending(self) -> set[str]:
        """The names of experiments that wait or run."""
        return self.names("Queued", "Running")

    @property
    def busy(self) -> bool:
        """Whether a worker is alive and has something to do."""
        return bool(self.workers and self.pending)


def look(root: Path = Path()) -> Queue:
    """Return the state of the queue of the project in `root`; it takes a second.

    End the process with what DVC says is wrong.
    """
    try:
        with Repo(str(root)) as repo:
            tasks = repo.experiments.celery_queue
            states = tuple((task["name"] or "", task["status"]) for task in tasks.status())
            return Queue(states, len(tasks.worker_status()))
    except DvcException as error:
        sys.exit(f"error: DVC's queue cannot be read: {error}")
