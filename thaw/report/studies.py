"""What the sets of study/ measured, as far as the report shows it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import FiniteFloat

from thaw.report.results import MODES, naming_damage, read_rows, to_rows
from thaw.support.tables import read_csv

REMEDY = "Restore it: git checkout -- study"
FULL_DATA = {"linear": "linear on pixels", **MODES, "scratch": "train-full, rate 0.003"}
"""What is shown of each set that takes all training images, by its name's end."""
LINEAR = {
    "train_images": "linear_pixels_train_images",
    "test_accuracy": "linear_pixels_accuracy",
    "test_accuracy_low": "linear_pixels_accuracy_low",
    "test_accuracy_high": "linear_pixels_accuracy_high",
}
"""The linear classifier's metrics among the baseline's, by `FullDataRow`'s fields."""


@dataclass(frozen=True)
class CurvePoint:
    """One experiment of the set curve: train-partial, so many layers frozen.

    Attributes:
        run: its `freeze`.
        frozen_through: the stage of ResNet50 that the last frozen layer belongs to, conv1 to conv5,
            or none.

    """

    run: str
    weights: str
    frozen_through: str
    parameters_trainable: int
    training_macs: int
    train_images: int
    epochs: int
    test_accuracy: FiniteFloat
    test_accuracy_low: FiniteFloat
    test_accuracy_high: FiniteFloat
    seed: int
    threads: int
    commit: str


@dataclass(frozen=True, kw_only=True)
class FullDataRow:
    """What one model reaches on all training images; what does not apply is None."""

    model: str
    weights: str | None = None
    train_images: int | None = None
    epochs: int | None = None
    parameters_trainable: int | None = None
    test_accuracy: FiniteFloat
    test_accuracy_low: FiniteFloat | None = None
    test_accuracy_high: FiniteFloat | None = None


@dataclass(frozen=True)
class Studies:
    """What was measured; a list is empty where its set was not run."""

    curve: list[CurvePoint]
    full_data: list[FullDataRow]


def read_studies(folder: Path) -> Studies:
    """Return what is in `folder`, study/.

    Raises:
        ThawError: a file cannot be read, or is not what a set leaves.

    """
    with naming_damage("study/", REMEDY):
        curve = folder / "results/curve.csv"
        measured = list(_measured(folder / "results"))
        return Studies(
            read_rows(curve, CurvePoint, REMEDY) if curve.is_file() else [],
            measured + _published(folder / "published.csv") if measured else [],
        )


def _measured(results: Path) -> Iterator[FullDataRow]:
    for name, model in FULL_DATA.items():
        path = results / f"full-data-{name}.csv"
        lines = read_csv(path, REMEDY) if path.is_file() else []
        if name == "linear":
            lines = [{field: row[metric] for field, metric in LINEAR.items()} for row in lines]
        yield from to_rows([row | {"model": model} for row in lines], FullDataRow, path)


def _published(path: Path) -> list[FullDataRow]:
    lines = read_csv(path, REMEDY)
    named = [row | {"model": f"{row['model']} (published)"} for row in lines]
    return to_rows(named, FullDataRow, path)
