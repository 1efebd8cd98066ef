"""The measurements of the studies, as far as the report shows them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import FiniteFloat

from thaw.config.fields import BACKBONE_LAYERS, BLOCKS, BLOCKS_PER_STAGE
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
BLOCK_NAMES = tuple(name for name in BLOCKS if name not in BLOCKS_PER_STAGE)
"""conv1 and the residual blocks, from the input to the output."""
BLOCK_ENDS = (5, 19, 29, 39, 51, 61, 71, 81, 93, 103, 113, 123, 133, 143, 155, 165, BACKBONE_LAYERS)
"""How many layers of Keras' ResNet50 each of `BLOCK_NAMES` ends after."""


@dataclass(frozen=True)
class CurvePoint:
    """One experiment of the set `curve`, which runs train-partial with various values of `freeze`.

    Attributes:
        run: the value of `freeze`.
        weights: the name of the weights.
        layers_frozen: how many of the first layers were frozen.
        parameters_trainable: how many parameters were trained.
        training_macs: the multiplications of all epochs, forward and backward.
        train_images: how many images it was trained on.
        epochs: how many epochs it was trained for.
        validation_accuracy: in [0, 1].
        test_accuracy: in [0, 1].
        test_accuracy_low: the low end of the 95 % interval.
        test_accuracy_high: the high end of the 95 % interval.
        seed: the param of that name.
        threads: the param of that name.
        commit: the first digits of the commit that the experiment was run from.

    """

    run: str
    weights: str
    layers_frozen: int
    parameters_trainable: int
    training_macs: int
    train_images: int
    epochs: int
    validation_accuracy: FiniteFloat
    test_accuracy: FiniteFloat
    test_accuracy_low: FiniteFloat
    test_accuracy_high: FiniteFloat
    seed: int
    threads: int
    commit: str

    @property
    def depth(self) -> float:
        """How many of `BLOCK_NAMES` are thawed, from the last on: 0 to 17, inside a block between.

        The layers of a block count alike.
        """
        frozen = np.interp(self.layers_frozen, (0, *BLOCK_ENDS), range(len(BLOCK_ENDS) + 1))
        return round(len(BLOCK_ENDS) - float(frozen), 2)


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
    """The rows of the studies. A list is empty if its set was never run.

    The curve goes from the head alone to everything thawed.
    """

    curve: list[CurvePoint]
    full_data: list[FullDataRow]

    @property
    def best(self) -> CurvePoint:
        """The depth to choose: the test images have no say in it."""
        return max(self.curve, key=lambda point: point.validation_accuracy)

    @property
    def least(self) -> CurvePoint:
        """The least thawed whose test accuracy is not below the interval of the best."""
        return next(p for p in self.curve if p.test_accuracy >= self.best.test_accuracy_low)


NONE = Studies([], [])


def read_studies(folder: Path) -> Studies:
    """Return the studies' results from `folder`.

    Raises:
        ThawError: a file cannot be read or does not have the columns of its set.

    """
    with naming_damage("tools/study", REMEDY):
        path = folder / "results/curve.csv"
        curve = read_rows(path, CurvePoint, REMEDY) if path.is_file() else []
        measured = list(_measured(folder / "results"))
        return Studies(
            sorted(curve, key=lambda point: point.depth),
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
