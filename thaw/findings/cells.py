"""The diagnosis as a table: a row for each combination of the notebooks' mistakes.

The stage diagnose writes the rows to cells.csv and, nested, to metrics/diagnose.json; the report
reads them.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import FiniteFloat

LEVELS = ("freeze", "value_range", "statistics")
"""What tells the cells apart, and the levels of their metrics from the outermost."""
WORDS = {"inference": "moving statistics", "training": "batch statistics"}
"""What frozen batch normalisation trains with, by the value of `frozen_batch_norm`."""


@dataclass(frozen=True)
class CellRow:
    """One combination, and what training by it gave after the last epoch.

    Attributes:
        freeze: how many of ResNet50's layers were frozen.
        value_range: of the pixels that `preprocess_input` was given, 0-255 or 0-1.
        statistics: what sets the cell apart in its batch normalisation: inference or training where
            layers are frozen, else e.g. `momentum 0.9`.
        train_accuracy: in [0, 1].
        validation_accuracy: in [0, 1].
        validation_loss: in nats.
        statistics_shift: the mean over batch normalisation layers of `statistics_shift`.

    """

    freeze: int
    value_range: str
    statistics: str
    train_accuracy: FiniteFloat
    validation_accuracy: FiniteFloat
    validation_loss: FiniteFloat
    statistics_shift: FiniteFloat


@dataclass(frozen=True)
class ShiftRow:
    """How far one batch normalisation layer's statistics are apart in one cell."""

    freeze: int
    value_range: str
    statistics: str
    layer: str
    statistics_shift: FiniteFloat


def nested(rows: Iterable[CellRow]) -> dict[str, Any]:
    """Return the rows as metrics: what a cell gave, below the `LEVELS` that it is found by."""
    cells: dict[str, Any] = {}
    for row in rows:
        entries = asdict(row)
        inner = cells
        for level in LEVELS:
            inner = inner.setdefault(str(entries.pop(level)), {})
        inner |= entries
    return cells


def statistics_in_words(statistics: str) -> str:
    """Return a row's `statistics` as people read it."""
    return WORDS.get(statistics, statistics)
