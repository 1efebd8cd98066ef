"""What the stages found, read once from metrics/ and data/results/."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import SMALL, Images, open_images
from thaw.findings.cells import CellRow, ShiftRow
from thaw.support import paths
from thaw.support.errors import ThawError, remedy
from thaw.support.places import check_input
from thaw.support.tables import read_csv, read_json

Row = TypeVar("Row")
Metrics = Mapping[str, Any]
MODES = {"frozen": "train-frozen", "partial": "train-partial", "full": "train-full"}
"""Each mode's stage, in the order in which they thaw."""
STAGES = {"baseline": "baseline", "diagnose": "diagnose", **MODES}
"""The stage that writes each file of metrics."""
HISTORY, PREDICTIONS = "history.csv", "predictions.csv"


@dataclass(frozen=True)
class TestPredictions:
    """What a mode's models say of the test images; the first row is the saved model's.

    Attributes:
        actual: (images,) int64, 0..9.
        predicted: (seeds, images) int64, 0..9.
        confidence: (seeds, images) float64, the predicted class' probability.

    """

    actual: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each is right, (seeds, images)."""
        return self.predicted == self.actual


@dataclass(frozen=True)
class Results:
    """All that the stages before the report wrote, but the models.

    Attributes:
        test: the test images.
        metrics: of each of `STAGES`, as its JSON file nests them.
        answers: by mode.
        histories: by mode, each epoch's numbers by column.
        cells: of the diagnosis.
        shifts: of the diagnosis, in the network's order within a cell.
        named: the likeliest ImageNet class before any retraining, by test image; empty where the
            weights have no 1000-class top.
        example: training image 6, (size, size, 3) uint8.

    """

    test: Images
    metrics: dict[str, Metrics]
    answers: dict[str, TestPredictions]
    histories: dict[str, list[dict[str, float]]]
    cells: list[CellRow]
    shifts: list[ShiftRow]
    named: dict[int, str]
    example: NDArray[np.uint8]


@contextmanager
def naming_damage(what: str, otherwise: str) -> Iterator[None]:
    """Say that `what` is damaged, and what to do, where its content does not fit what is done.

    Raises:
        ThawError: something is missing, cannot be read, or is no number.

    """
    try:
        yield
    except (LookupError, ValueError, TypeError, OverflowError, EOFError) as error:
        raise ThawError(f"{what} is damaged: {error!r}. {otherwise}") from error


def read(root: Path) -> Results:
    """Return what is in `root`'s metrics/ and data/results/.

    Raises:
        ThawError: a file is missing, or cannot be read.

    """
    folder = root / paths.RESULTS
    test = open_images(root / paths.IMAGES, SMALL, "test")
    with naming_damage("data/results or metrics/", remedy()):
        return Results(
            test,
            {name: read_json(root / paths.METRICS / f"{name}.json") for name in STAGES},
            {mode: read_answers(folder / mode / PREDICTIONS) for mode in MODES},
            {mode: _read_history(folder / mode / HISTORY) for mode in MODES},
            read_rows(folder / "diagnose/cells.csv", CellRow),
            read_rows(folder / "diagnose/shifts.csv", ShiftRow),
            _read_named(folder / "baseline" / PREDICTIONS),
            _read_example(folder / "baseline/train_image_6.npy"),
        )


def read_rows(path: Path, kind: type[Row], otherwise: str = "") -> list[Row]:
    """Return a table's lines as objects of the dataclass `kind`: see `to_rows`.

    Args:
        path: of the table.
        kind: whose fields are columns of the table.
        otherwise: what to do where the file is damaged; `remedy` where nothing else is said.

    """
    return to_rows(read_csv(path, otherwise), kind, path)


def to_rows(lines: Sequence[Mapping[str, str]], kind: type[Row], path: Path) -> list[Row]:
    """Return lines of text by column as objects of the dataclass `kind`; more columns may be there.

    Raises:
        ValueError: a column is missing, or holds what its field does not take.

    """
    try:
        return TypeAdapter(list[kind]).validate_python(lines)  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        row, column = first["loc"]
        raise ValueError(
            f"{path.name}: row {int(row) + 1}, {column}: {first['msg']}. "
            f"Received: {lines[int(row)].get(str(column), 'nothing')}"
        ) from None


def read_answers(path: Path) -> TestPredictions:
    """Return predictions.csv as arrays.

    Raises:
        ThawError: the file is missing or is not text.
        KeyError, ValueError: a column or a class is unknown, an image is missing, or a probability
            is none.

    """
    rows = read_csv(path)
    by_seed: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        by_seed.setdefault(int(row["seed"]), []).append(row)

    def classes(name: str) -> NDArray[np.int64]:
        return np.array([[CLASS_NAMES.index(row[name]) for row in of] for of in by_seed.values()])

    actual, predicted = classes("actual"), classes("predicted")
    if not rows or (actual != actual[0]).any():
        raise ValueError(f"{path}: every seed must have the same images")
    confidence = np.array([[float(row["confidence"]) for row in of] for of in by_seed.values()])
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"{path}: probabilities must be from 0 to 1")
    return TestPredictions(actual[0], predicted, confidence)


def _read_history(path: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items()} for row in read_csv(path)]


def _read_named(path: Path) -> dict[int, str]:
    return {
        int(row["test_image"]): row["imagenet_class"]
        for row in read_csv(path)
        if row["rank"] == "1" and row["value_range"] == "0-255"
    }


def _read_example(path: Path) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = np.load(check_input(path), allow_pickle=False)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{path.name} must be (size, size, 3) uint8. Received: {image.shape}")
    return image
