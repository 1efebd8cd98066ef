"""What the stages found, held together before anything is drawn or said of it.

After `dvc commit`, DVC takes a metrics file that was changed by hand. What the report says of a
mode follows from its predictions and epochs, so what does not is refused.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.config.fields import BACKBONE_LAYERS, TRAIN_IMAGES, VALUE_RANGES
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images
from thaw.findings.evaluation import CALIBRATION_BINS, key, reliability, wilson_interval
from thaw.support.errors import ThawError, remedy
from thaw.support.tables import METRIC_DIGITS, read_csv, read_json

Metrics = Mapping[str, Any]
MODES = {"frozen": "train-frozen", "partial": "train-partial", "full": "train-full"}
"""Each mode's stage, in the order in which they thaw."""
STAGES = {"baseline": "baseline", "diagnose": "diagnose", **MODES}
"""The stage that writes each file of metrics."""
HISTORY, PREDICTIONS = "history.csv", "predictions.csv"
ROUNDING = 0.5 * 10**-METRIC_DIGITS + 1e-9
"""By how much a number that was rounded may differ."""
CONFIDENCE_ROUNDING = 0.5e-6
"""Of what predictions.csv holds."""
LIMITS = {
    r".*(accuracy(_\w+)?|_share|_probability)|calibration_error": (0, 1),
    r"generalization_gap": (-1, 1),
    r".*_(loss|shift|deviation)": (0, math.inf),
    r"(.*_)?(train|validation)_images": (1, TRAIN_IMAGES),
    r"epochs|seeds|images_seen|(.*_)?(test|zero_shot)_images": (1, math.inf),
    r"head_warmup_epochs|parameters\w*|training_macs": (0, math.inf),
    r"layers_frozen": (0, BACKBONE_LAYERS),
}
"""The least and the most that metrics of such names can be."""


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


def load(root: Path, test: Images) -> tuple[dict[str, Metrics], dict[str, TestPredictions]]:
    """Return the metrics of each of `STAGES` and the answers of each of `MODES`, which agree.

    Args:
        root: the project's folder.
        test: its test images.

    Raises:
        ThawError: one is missing, cannot be read, or contradicts another.
        KeyError, TypeError, ValueError: a metric or a column is missing, or is no number.

    """
    metrics: dict[str, Metrics] = {
        name: read_json(root / f"metrics/{name}.json") for name in STAGES
    }
    folder = root / "data/results"
    answers = {mode: read_answers(folder / mode / PREDICTIONS) for mode in MODES}
    for name, of in metrics.items():
        _check_limits(name, of)
        _hold(name, of, {"weights": metrics["baseline"]["weights"]})
    _hold("baseline", metrics["baseline"], dict(_baseline(metrics["baseline"], folder, test)))
    _hold("diagnose", metrics["diagnose"], dict(_cells(read_csv(folder / "diagnose/cells.csv"))))
    for mode, of_test in answers.items():
        _check_images(mode, of_test, metrics[mode], test)
        _hold(mode, metrics[mode], _by_answers(of_test))
        _hold(mode, metrics[mode], _by_history(read_csv(folder / mode / HISTORY), metrics[mode]))
        _check_derived(mode, metrics[mode], of_test)
    return metrics, answers


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


def _check_images(mode: str, answers: TestPredictions, metrics: Metrics, test: Images) -> None:
    """Hold predictions to the images that they are of."""
    count = len(answers.actual)
    if count != metrics["test_images"]:
        raise ThawError(
            f"the predictions of {MODES[mode]} are of {count:,} images, its metrics of "
            f"{metrics['test_images']:,}. {remedy()}"
        )
    if not np.array_equal(answers.actual, test.labels):
        raise ThawError(f"the predictions of {MODES[mode]} are not of these images. {remedy()}")


def _check_limits(name: str, metrics: Metrics) -> None:
    for metric, value in metrics.items():
        for pattern, (least, most) in LIMITS.items():
            if re.fullmatch(pattern, metric) and not (
                type(value) in (int, float) and least <= value <= most
            ):
                allowed = f"from {least} to {most}" if math.isfinite(most) else f"at least {least}"
                raise _contradiction(name, metric, f"a number, {allowed}", value)


def _hold(
    name: str, metrics: Metrics, expected: Mapping[str, float | str], slack: float = ROUNDING
) -> None:
    """Hold metrics to what follows from the results, but for rounding."""
    for metric, value in expected.items():
        received = metrics[metric]
        if isinstance(value, str) or isinstance(received, str):
            same = received == value
        else:
            same = abs(received - value) <= slack
        if not same:
            said = value if isinstance(value, str) else f"{round(value, METRIC_DIGITS)}"
            raise _contradiction(name, metric, f"{said}, as the results have it", received)


def _contradiction(name: str, metric: str, allowed: str, received: object) -> ThawError:
    return ThawError(
        f"metrics/{name}.json: {metric} must be {allowed}. Received: {received!r}. Run `dvc repro "
        f"--force --single-item {STAGES[name]}` to make it again."
    )


def _baseline(metrics: Metrics, folder: Path, test: Images) -> Iterator[tuple[str, float | str]]:
    """Yield what of the baseline's metrics follows from others, and from the tables."""
    yield "chance_accuracy", float(np.bincount(test.labels).max() / len(test))
    yield "linear_pixels_test_images", len(test)
    yield from _share("linear_pixels_accuracy", metrics, len(test))
    if metrics["has_1000_class_top"]:
        for value_range in VALUE_RANGES:
            yield from _share(
                f"{value_range}_zero_shot_accuracy", metrics, metrics["zero_shot_images"]
            )


def _share(name: str, metrics: Metrics, count: int) -> Iterator[tuple[str, float]]:
    """Yield a share of `count` images, as near as there is one, and its interval."""
    successes = round(metrics[name] * count)
    yield name, successes / count
    yield from _interval(name, successes, count)


def _interval(name: str, successes: int, count: int) -> Iterator[tuple[str, float]]:
    low, high = wilson_interval(successes, count)
    yield f"{name}_low", low
    yield f"{name}_high", high


def _cells(rows: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, float]]:
    """Yield each number of cells.csv under its metric's name."""
    for row in rows:
        statistics = row["statistics"].replace(" ", "_").replace(".", "")
        cell = f"freeze_{row['freeze']}_{row['value_range']}_{statistics}"
        for column in [*row][3:]:
            yield f"{cell}_{column}", float(row[column])


def _by_answers(answers: TestPredictions) -> dict[str, float | str]:
    """Return the metrics that follow from a mode's predictions."""
    right = answers.correct
    found: dict[str, float | str] = {"seeds": len(right), "test_accuracy": float(right[0].mean())}
    found |= _interval("test_accuracy", int(right[0].sum()), right.shape[1])
    for label, name in enumerate(CLASS_NAMES):
        if (of_class := answers.actual == label).any():
            found[f"test_accuracy_{key(name)}"] = float(right[0][of_class].mean())
    if len(right) > 1:
        shares = right.mean(axis=1)
        found["test_accuracy_mean"] = float(shares.mean())
        found["test_accuracy_std"] = float(shares.std(ddof=1))
    return found


def _by_history(rows: Sequence[Mapping[str, str]], metrics: Metrics) -> dict[str, float | str]:
    """Return the metrics that follow from a mode's epochs, with those that follow from others."""
    losses = [float(row["val_loss"]) for row in rows]
    return {
        "epochs": len(rows),
        "best_epoch": losses.index(min(losses)) + 1,
        "images_seen": (metrics["head_warmup_epochs"] + len(rows)) * metrics["train_images"],
        "parameters": metrics["parameters_trainable"] + metrics["parameters_non_trainable"],
    }


def _check_derived(mode: str, metrics: Metrics, answers: TestPredictions) -> None:
    """Hold to what was itself rounded what follows from it."""
    gap = metrics["train_accuracy"] - metrics["validation_accuracy"]
    _hold(mode, metrics, {"generalization_gap": gap}, 3 * ROUNDING)
    confidence, count = answers.confidence[0], len(answers.actual)
    bins = reliability(confidence, answers.correct[0])
    error = sum(images * abs(sure - right) for sure, right, images in bins) / count
    place = confidence * CALIBRATION_BINS
    # Rounding may have moved these to the next bin, each of which counts twice at most.
    on_the_edge = np.abs(place - place.round()) <= CALIBRATION_BINS * CONFIDENCE_ROUNDING
    slack = ROUNDING + CONFIDENCE_ROUNDING + 2 * float(on_the_edge.sum()) / count
    _hold(mode, metrics, {"calibration_error": error}, slack)
