"""The results of the other stages, read once from data/results/."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from thaw.data.dataset import Dataset, read_dataset
from thaw.data.image_store import LARGE, SMALL, Images, open_images
from thaw.findings.cells import CellRow, ShiftRow
from thaw.support import paths
from thaw.support.errors import ThawError, remedy
from thaw.support.places import check_input
from thaw.support.tables import read_csv, read_json

Row = TypeVar("Row")
Metrics = Mapping[str, Any]
MODES = {"frozen": "train-frozen", "partial": "train-partial", "full": "train-full"}
"""The stage of each mode, from the mode that thaws least to the one that thaws most."""
STAGES = {"baseline": "baseline", "diagnose": "diagnose", **MODES}
"""The stage that writes each folder of data/results."""
HISTORY, PREDICTIONS = "history.csv", "predictions.csv"
FILES = "files.csv"
"""The pictures' files, in data/images. Fashion-MNIST has none."""


@dataclass(frozen=True)
class TestPredictions:
    """The predictions of a mode's models for the test images.

    The first row belongs to the saved model.

    Attributes:
        actual: the images' classes, (images,) int64.
        predicted: the predicted classes, (seeds, images) int64.
        confidence: the probabilities of the predicted classes, (seeds, images) float64.

    """

    actual: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, (seeds, images) bool."""
        return self.predicted == self.actual


@dataclass(frozen=True)
class Results:
    """Everything except the models that the stages before the report wrote.

    Attributes:
        dataset: the name of the images, their classes and their counts.
        test: the test images: Fashion-MNIST's at 32 px, others at 224 px.
        files: the file of each test image by its position; empty for Fashion-MNIST.
        metrics: the summary of each of `STAGES`, nested as in its JSON file.
        answers: the predictions for the test images, by mode.
        histories: the columns of each epoch, by mode.
        cells: the rows of the diagnosis; none, as of the shifts, except for Fashion-MNIST.
        shifts: the shifts of the diagnosis, by cell and within a cell in the network's order.
        named: the likeliest ImageNet class of each test image before any retraining, by the image's
            position in the test set. Empty if the weights have no 1000-class top.
        example: training image 6 of Fashion-MNIST, (size, size, 3) uint8.

    """

    dataset: Dataset
    test: Images
    files: dict[int, str]
    metrics: dict[str, Metrics]
    answers: dict[str, TestPredictions]
    histories: dict[str, list[dict[str, float]]]
    cells: list[CellRow]
    shifts: list[ShiftRow]
    named: dict[int, str]
    example: NDArray[np.uint8] | None

    @property
    def has_zero_shot(self) -> bool:
        """Whether the test images were also classified without any retraining.

        That takes weights with a 1000-class top, and class names that ImageNet has too.
        """
        baseline = self.metrics["baseline"]
        named = self.dataset.fashion_mnist or "zero_shot_images" in baseline
        return bool(baseline["has_1000_class_top"] and named)


@contextmanager
def naming_damage(what: str, otherwise: str) -> Iterator[None]:
    """Turn errors caused by unexpected content into one message that `what` is damaged.

    Args:
        what: the files that the block works on.
        otherwise: what the user can do about the damage.

    Raises:
        ThawError: an entry is missing, cannot be read, or is not a number.

    """
    try:
        yield
    except (LookupError, ValueError, TypeError, OverflowError, EOFError) as error:
        raise ThawError(f"{what} is damaged: {error!r}. {otherwise}") from error


def read(root: Path) -> Results:
    """Return the contents of data/results/ in `root`.

    Raises:
        ThawError: a file is missing or cannot be read.

    """
    folder, images = root / paths.RESULTS, root / paths.IMAGES
    dataset = read_dataset(images)
    # Photographs of 32 px say nothing to a reader, and larger ones of Fashion-MNIST no more.
    test = open_images(images, SMALL if dataset.fashion_mnist else LARGE, "test")
    with naming_damage("data/results", remedy()):
        return Results(
            dataset,
            test,
            {} if dataset.fashion_mnist else _read_files(images / FILES),
            {name: read_json(folder / name / paths.SUMMARY) for name in STAGES},
            {mode: read_answers(folder / mode / PREDICTIONS, dataset.classes) for mode in MODES},
            {mode: _read_history(folder / mode / HISTORY) for mode in MODES},
            read_rows(folder / "diagnose/cells.csv", CellRow),
            read_rows(folder / "diagnose/shifts.csv", ShiftRow),
            _read_named(folder / "baseline" / PREDICTIONS),
            _read_example(folder / "baseline/train_image_6.npy") if dataset.fashion_mnist else None,
        )


def read_rows(path: Path, kind: type[Row], otherwise: str = "") -> list[Row]:
    """Return the lines of a CSV file as objects of the dataclass `kind`.

    Args:
        path: the CSV file.
        kind: the dataclass. Each of its fields must be a column of the file.
        otherwise: what the user can do if the file is damaged. Without it, the message gives
            `thaw.support.errors.remedy`.

    Raises:
        ThawError: the file is missing or is not text.
        ValueError: a column is missing or holds a value that its field does not accept.

    """
    return to_rows(read_csv(path, otherwise), kind, path)


def to_rows(lines: Sequence[Mapping[str, str]], kind: type[Row], path: Path) -> list[Row]:
    """Return lines of text by column as objects of the dataclass `kind`.

    The lines may have further columns. `path` is only named in messages.

    Raises:
        ValueError: a column is missing or holds a value that its field does not accept.

    """
    try:
        return TypeAdapter(list[kind]).validate_python(lines)  # type: ignore[valid-type]
    except ValidationError as error:
        # One mistake is enough for a message, and pydantic's own text would fill the screen.
        first = error.errors()[0]
        row, column = first["loc"]
        raise ValueError(
            f"{path.name}: row {int(row) + 1}, {column}: {first['msg']}. "
            f"Received: {lines[int(row)].get(str(column), 'nothing')}"
        ) from None


def read_answers(path: Path, classes: Sequence[str]) -> TestPredictions:
    """Return predictions.csv as arrays.

    Args:
        path: the file.
        classes: the names of all classes, in the labels' order.

    Raises:
        ThawError: the file is missing or is not text.
        KeyError: a column is missing, or a class is unknown.
        ValueError: the seeds do not have the same images, or a probability is not in [0, 1].

    """
    rows = read_csv(path)
    label_of = {name: label for label, name in enumerate(classes)}
    by_seed: dict[int, list[dict[str, str]]] = {}
    for row in rows:
        by_seed.setdefault(int(row["seed"]), []).append(row)

    def labels(name: str) -> NDArray[np.int64]:
        return np.array([[label_of[row[name]] for row in of] for of in by_seed.values()])

    actual, predicted = labels("actual"), labels("predicted")
    if not rows or (actual != actual[0]).any():
        raise ValueError(f"{path}: every seed must have the same images in the same order")
    confidence = np.array([[float(row["confidence"]) for row in of] for of in by_seed.values()])
    # Written this way round, the condition also refuses NaN.
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(f"{path}: probabilities must be from 0 to 1")
    return TestPredictions(actual[0], predicted, confidence)


def _read_history(path: Path) -> list[dict[str, float]]:
    return [{name: float(value) for name, value in row.items()} for row in read_csv(path)]


def _read_files(path: Path) -> dict[int, str]:
    if not path.exists():
        return {}
    return {int(row["position"]): row["file"] for row in read_csv(path) if row["split"] == "test"}


def _read_named(path: Path) -> dict[int, str]:
    # Only 0-255 input, the range that ResNet50 was trained for.
    return {
        int(row["test_image"]): row["imagenet_class"]
        for row in read_csv(path)
        if row["rank"] == "1" and row["value_range"] == "0-255"
    }


def _read_example(path: Path) -> NDArray[np.uint8]:
    image: NDArray[np.uint8] = np.load(check_input(path), allow_pickle=False)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        received = f"{image.shape} {image.dtype}"
        raise ValueError(f"{path.name} must be (size, size, 3) uint8. Received: {received}")
    return image
