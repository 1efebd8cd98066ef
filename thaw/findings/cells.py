"""The table of the diagnosis, which has one row for each combination of the notebooks' mistakes.

The stage diagnose writes these rows to cells.csv, and in nested form to summary.json. The
report reads both.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import FiniteFloat

LEVELS = ("freeze", "value_range", "statistics")
"""The columns that identify a cell. The metrics are nested by them, the first one outermost."""
WORDS = {"inference": "moving statistics", "training": "batch statistics"}
"""The statistics that frozen batch normalisation uses in training, by `frozen_batch_norm`."""


@dataclass(frozen=True)
class CellRow:
    """One combination of causes and its results after the last epoch.

    Attributes:
        freeze: how many of ResNet50's layers were frozen.
        value_range: the range of the pixels passed to `preprocess_input`, 0-255 or 0-1.
        statistics: the setting of batch normalisation: `inference` or `training` if layers were
            frozen, otherwise the momentum, such as `momentum 0.9`.
        train_accuracy: in [0, 1].
        validation_accuracy: in [0, 1].
        validation_loss: in nats.
        statistics_shift: the mean of `thaw.findings.shifts.statistics_shift` over all batch
            normalisation layers, in standard deviations.

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
    """The shift of one batch normalisation layer in one cell, in standard deviations."""

    freeze: int
    value_range: str
    statistics: str
    layer: str
    statistics_shift: FiniteFloat


def nested(rows: Iterable[CellRow]) -> dict[str, Any]:
    """Return the rows as nested metrics: a cell's results lie below its values of `LEVELS`."""
    cells: dict[str, Any] = {}
    for row in rows:
        # Each level is popped, so that only the results are left for the innermost mapping.
        entries = asdict(row)
        inner = cells
        for level in LEVELS:
            inner = inner.setdefault(str(entries.pop(level)), {})
        inner |= entries
    return cells


def statistics_in_words(statistics: str) -> str:
    """Return a row's `statistics` in the words that the report uses."""
    return WORDS.get(statistics, statistics)
