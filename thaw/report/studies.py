"""The measurements of the studies, as far as the report shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import FiniteFloat

from thaw.report.results import MODES, naming_damage, read_rows, to_rows
from thaw.support.tables import read_csv

REMEDY = "Restore it: git checkout -- tools/study"
FULL_DATA = {"linear": "linear on pixels", **MODES, "scratch": "train-full, rate 0.003"}
"""The names in the report of the sets full-data-*, by the end of the set's name."""
LINEAR = {
    "train_images": "linear_pixels_train_images",
    "test_accuracy": "linear_pixels_accuracy",
    "test_accuracy_low": "linear_pixels_accuracy_low",
    "test_accuracy_high": "linear_pixels_accuracy_high",
}
"""The baseline's metrics of the linear classifier, by the fields of `FullDataRow`."""


@dataclass(frozen=True)
class CurvePoint:
    """One experiment of the set `curve`, which runs train-partial with various values of `freeze`.

    Attributes:
        run: the value of `freeze`.
        weights: the name of the weights.
        frozen_through: the stage of ResNet50 that the last frozen layer belongs to, `conv1` to
            `conv5`, or `none`.
        parameters_trainable: how many parameters were trained.
        training_macs: the multiplications of all epochs, forward and backward.
        train_images: how many images it was trained on.
        epochs: how many epochs it was trained for.
        test_accuracy: in [0, 1].
        test_accuracy_low: the low end of the 95 % interval.
        test_accuracy_high: the high end of the 95 % interval.
        seed: the param of that name.
        threads: the param of that name.
        commit: the first digits of the commit that the experiment was run from.

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
    """The result of one model on all training images. Fields that do not apply are None."""

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
    """The rows of the studies. A list is empty if its set was never run."""

    curve: list[CurvePoint]
    full_data: list[FullDataRow]


NONE = Studies([], [])


def read_studies(folder: Path) -> Studies:
    """Return the studies' results from `folder`.

    Raises:
        ThawError: a file cannot be read or does not have the columns of its set.

    """
    with naming_damage("tools/study", REMEDY):
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
        # This set's stage is baseline, whose metrics have names of their own.
        if name == "linear":
            lines = [{field: row[metric] for field, metric in LINEAR.items()} for row in lines]
        yield from to_rows([row | {"model": model} for row in lines], FullDataRow, path)


def _published(path: Path) -> list[FullDataRow]:
    lines = read_csv(path, REMEDY)
    named = [row | {"model": f"{row['model']} (published)"} for row in lines]
    return to_rows(named, FullDataRow, path)
