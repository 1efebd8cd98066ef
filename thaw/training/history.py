"""The loss and accuracy of each epoch of a training."""

from dataclasses import dataclass, field
from pathlib import Path

from thaw.support.tables import write_csv

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass
class History:
    """The epochs so far, each as one row with the keys `HISTORY_COLUMNS`. Losses are in nats."""

    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """The number of epochs that have run."""
        return len(self.rows)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, counted from 1.

        It is the first one if several are equal, and 0 before the first epoch has run.
        """
        losses = [row["val_loss"] for row in self.rows]
        return losses.index(min(losses)) + 1 if losses else 0

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether training ends: after `epochs`, or `patience` epochs after the best (0: never)."""
        waited = self.epochs - self.best_epoch
        return self.epochs >= epochs or 0 < patience <= waited

    def write(self, path: Path) -> None:
        """Write a CSV file with one row for each epoch, counted from 1."""
        rows = [[row[name] for name in HISTORY_COLUMNS] for row in self.rows]
        write_csv(path, HISTORY_COLUMNS, [[int(row[0]), *row[1:]] for row in rows])
