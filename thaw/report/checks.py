"""Check that the summaries agree with the results behind them, before the report shows any.

DVC does not notice a summary that was changed by hand and then passed to `dvc commit`. So the
report computes its metrics again from the predictions and the epochs, and refuses any that differ.
thaw.findings and thaw.training define how metrics are computed and named; this module compares.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from thaw.config.fields import BACKBONE_LAYERS, VALUE_RANGES
from thaw.data.image_store import Images
from thaw.findings import scores
from thaw.findings.calibration import CALIBRATION_BINS
from thaw.findings.cells import nested
from thaw.findings.intervals import share_metrics
from thaw.report.results import MODES, STAGES, Metrics, Results, TestPredictions, naming_damage
from thaw.support import paths
from thaw.support.errors import ThawError, remedy
from thaw.support.nested import flat
from thaw.support.tables import METRIC_DIGITS
from thaw.training.history import History

ROUNDING = 0.5 * 10**-METRIC_DIGITS + 1e-9
"""The largest difference that rounding to `METRIC_DIGITS` can cause."""
CONFIDENCE_ROUNDING = 0.5e-6
"""The largest rounding error of the confidences in predictions.csv."""
LIMITS = {
    r"\w*(accuracy(_\w+)?|_share|_probability)|test_macro_\w+|calibration_error": (0, 1),
    r"generalization_gap": (-1, 1),
    r"\w*(loss|shift|deviation)": (0, math.inf),
    r"epochs|seeds|images_seen|\w*_images": (1, math.inf),
    r"head_warmup_epochs|parameters\w*|training_macs": (0, math.inf),
    r"layers_frozen": (0, BACKBONE_LAYERS),
}
"""The smallest and the largest value of each metric. The patterns match the last part of a nested
metric's name."""


def check(results: Results) -> None:
    """Check every summary against the tables of the results.

    Raises:
        ThawError: a metric is missing, is not a number, or contradicts the results.

    """
    metrics = results.metrics
    with naming_damage("data/results", remedy()):
        for name, of in metrics.items():
            _check_limits(name, of)
            # Other datasets than Fashion-MNIST are not diagnosed.
            if name != "diagnose" or results.dataset.fashion_mnist:
                _hold(name, of, {"weights": metrics["baseline"]["weights"]})
        _hold("baseline", metrics["baseline"], _baseline(results))
        if results.dataset.fashion_mnist:
            _hold("diagnose", metrics["diagnose"], {"cells": nested(results.cells)})
        for mode, answers in results.answers.items():
            _check_images(mode, answers, metrics[mode], results.test)
            _check_answers(mode, answers, metrics[mode])
            _hold(mode, metrics[mode], _by_history(History(results.histories[mode]), metrics[mode]))
            _check_sums(mode, metrics[mode])


def _check_limits(name: str, metrics: Metrics) -> None:
    """Check that every metric in the summary of `name` lies within its `LIMITS`."""
    for path, value in flat(metrics):
        for pattern, (least, most) in LIMITS.items():
            # isinstance would let a bool pass as an int; NaN fails both comparisons.
            if re.fullmatch(pattern, path.rpartition(".")[2]) and not (
                type(value) in (int, float) and least <= value <= most
            ):
                allowed = f"from {least} to {most}" if math.isfinite(most) else f"at least {least}"
                raise _contradiction(name, path, f"a number, {allowed}", value)


def _hold(
    name: str, metrics: Metrics, expected: Mapping[str, Any], slack: float = ROUNDING
) -> None:
    """Check that metrics equal the `expected` ones; numbers may differ by `slack`."""
    given = dict(flat(metrics))
    for path, value in flat(expected):
        received = given[path]
        if isinstance(value, str) or isinstance(received, str):
            same = received == value
        else:
            same = abs(received - value) <= slack
        if not same:
            said = value if isinstance(value, str) else f"{round(value, METRIC_DIGITS)}"
            raise _contradiction(name, path, f"{said}, as the results have it", received)


def _contradiction(name: str, metric: str, allowed: str, received: object) -> ThawError:
    return ThawError(
        f"{paths.RESULTS}/{name}/{paths.SUMMARY}: {metric} must be {allowed}. Received: "
        f"{received!r}. Run `dvc repro --force --single-item {STAGES[name]}` to make it again."
    )


def _baseline(results: Results) -> dict[str, Any]:
    """Return those of the baseline's metrics that follow from its other metrics or the images."""
    metrics, test = results.metrics["baseline"], results.test
    linear, zero_shot = "linear_pixels_accuracy", "zero_shot_accuracy"
    expected: dict[str, Any] = {
        "chance_accuracy": scores.chance_accuracy(test.labels),
        "linear_pixels_test_images": len(test),
        **_share(linear, metrics[linear], len(test)),
    }
    if results.has_zero_shot:
        for value_range in VALUE_RANGES:
            share = metrics[value_range][zero_shot]
            expected[value_range] = _share(zero_shot, share, metrics["zero_shot_images"])
    return expected


def _share(name: str, share: float, count: int) -> dict[str, float]:
    """Return the metrics of the share of `count` images that is nearest to `share`."""
    # Metrics are rounded, so the number of successes has to be recovered first.
    return share_metrics(name, round(share * count), count)


def _check_images(mode: str, answers: TestPredictions, metrics: Metrics, test: Images) -> None:
    """Check that the predictions belong to the test images."""
    count = len(answers.actual)
    if count != metrics["test_images"]:
        raise ThawError(
            f"the predictions of {MODES[mode]} are for {count:,} images, but its metrics are for "
            f"{metrics['test_images']:,}. {remedy()}"
        )
    if not np.array_equal(answers.actual, test.labels):
        raise ThawError(
            f"the predictions of {MODES[mode]} do not belong to the images in data/images. "
            f"{remedy()}"
        )


def _check_answers(mode: str, answers: TestPredictions, metrics: Metrics) -> None:
    """Check the metrics that follow from a mode's predictions."""
    confidence, correct = answers.confidence[0], answers.correct
    expected = scores.answer_metrics(answers.actual, answers.predicted[0], confidence)
    error = expected.pop("calibration_error")
    _hold(mode, metrics, {"seeds": len(correct)} | expected)
    if len(correct) > 1:
        _hold(mode, metrics, scores.spread_metrics("test", list(correct)))
    # predictions.csv holds rounded confidences. Rounding may move an image near a bin's edge into
    # the next bin, and each such image changes the calibration error by at most 2 / images.
    place = confidence * CALIBRATION_BINS
    moved = np.abs(place - place.round()) <= CALIBRATION_BINS * CONFIDENCE_ROUNDING
    slack = ROUNDING + CONFIDENCE_ROUNDING + 2 * float(moved.mean())
    _hold(mode, metrics, {"calibration_error": error}, slack)


def _by_history(history: History, metrics: Metrics) -> dict[str, float]:
    """Return the metrics that follow from a mode's training history."""
    return {
        "epochs": history.epochs,
        "best_epoch": history.best_epoch,
        "images_seen": (metrics["head_warmup_epochs"] + history.epochs) * metrics["train_images"],
    }


def _check_sums(mode: str, metrics: Metrics) -> None:
    """Check the metrics that are sums or differences of other metrics."""
    parameters = metrics["parameters_trainable"] + metrics["parameters_non_trainable"]
    _hold(mode, metrics, {"parameters": parameters})
    gap = metrics["train_accuracy"] - metrics["validation_accuracy"]
    # Three rounded numbers meet here: both accuracies and the gap itself.
    _hold(mode, metrics, {"generalization_gap": gap}, 3 * ROUNDING)
