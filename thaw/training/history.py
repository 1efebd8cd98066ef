"""What each epoch of a training gave."""

from dataclasses import dataclass, field
from pathlib import Path

from thaw.support.tables import write_csv

HISTORY_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")


@dataclass
class History:
    """What each epoch so far gave: one row of `HISTORY_COLUMNS` each."""

    rows: list[dict[str, float]] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """Epochs run."""
        return len(self.rows)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss, from 1; the first of equals; 0 before any."""
        losses = [row["val_loss"] for row in self.rows]
        return losses.index(min(losses)) + 1 if losses else 0

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether all `epochs` are run or `patience` (0: endless) is at its end."""
        waited = self.epochs - self.best_epoch
        return self.epochs >= epochs or 0 < patience <= waited

    def write(self, path: Path) -> None:
        """Write one CSV line an epoch; epochs count from 1."""
        rows = [[row[name] for name in HISTORY_COLUMNS] for row in self.rows]
        write_csv(path, HISTORY_COLUMNS, [[int(row[0]), *row[1:]] for row in rows])
