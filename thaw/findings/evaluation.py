"""Predictions to metrics, with confidence intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.network.predictions import Predictions

Metrics = dict[str, float | int | str]
CALIBRATION_BINS = 15
"""Bins of equal width, as in Guo et al. 2017."""
_SMALLEST = np.finfo(np.float32).tiny


def accuracy(predictions: Predictions) -> float:
    """Return the share of right predictions, in [0, 1]."""
    return float(predictions.correct.mean())


def cross_entropy(predictions: Predictions) -> float:
    """Return the mean negative log probability of the right class, in nats."""
    right = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]
    return float(-np.log(np.maximum(right, _SMALLEST, dtype=np.float64)).mean())


def wilson_interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson 1927) for a share of `successes` in `count`."""
    interval = binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def calibration_error(predictions: Predictions, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3).

    The likeliest class' probability is put into bins (low, high] of equal width; the result is the
    mean over images of their bin's |accuracy - mean probability|, in [0, 1].
    """
    confidence = predictions.probabilities.max(axis=1).astype(np.float64)
    gaps = np.bincount(_bins(confidence, bins), predictions.correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def accuracy_by_class(predictions: Predictions) -> dict[str, float]:
    """Return each class' share of right predictions, by name; classes without images are not."""
    return {
        name: float(predictions.correct[predictions.labels == label].mean())
        for label, name in enumerate(CLASS_NAMES)
        if (predictions.labels == label).any()
    }


def seed_metrics(runs: Sequence[Mapping[str, Predictions]]) -> Metrics:
    """Return how accuracy spreads over seeds; from two on, mean and standard deviation.

    Args:
        runs: each seed's predictions on `validation` and `test`.

    """
    metrics: Metrics = {"seeds": len(runs)}
    for part in ("validation", "test") if len(runs) > 1 else ():
        accuracies = [accuracy(run[part]) for run in runs]
        metrics[f"{part}_accuracy_mean"] = float(np.mean(accuracies))
        metrics[f"{part}_accuracy_std"] = float(np.std(accuracies, ddof=1))
    return metrics


def paired_difference(
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Return how much more often one model is right than another, with a bootstrap interval.

    Both are asked about the same images, so images are drawn for both at once: what is hard for one
    is hard for the other, and an unpaired interval would be too wide. Where models were trained
    with several seeds, seeds are drawn, too (Efron & Tibshirani 1993, ch. 8 and 13).

    Args:
        one: whether each seed's model was right on each image, (seeds, images).
        other: of the other model; its seeds may be fewer or more.
        seed: of the drawing.
        resamples: how often images and seeds are drawn.
        confidence: of the interval, in (0, 1).

    Returns:
        The difference of mean accuracies, and the percentile interval's ends, in [-1, 1].

    """
    random = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        counts = np.bincount(random.integers(0, one.shape[1], one.shape[1]), minlength=one.shape[1])
        by_seed = [right @ counts / one.shape[1] for right in (one, other)]
        means = [random.choice(shares, len(shares)).mean() for shares in by_seed]
        drawn[i] = means[0] - means[1]
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(one.mean() - other.mean()), float(low), float(high)


def reliability(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> list[tuple[float, float, int]]:
    """Return mean confidence, accuracy and image count of each bin that `calibration_error` has.

    Bins without images are left out.
    """
    index = _bins(confidence, bins)
    return [
        (float(confidence[index == i].mean()), float(correct[index == i].mean()), int(count))
        for i, count in enumerate(np.bincount(index, minlength=bins))
        if count
    ]


def _bins(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the bin (low, high] of each confidence."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def key(class_name: str) -> str:
    """Return a class name as part of a metric's name, e.g. `t_shirt_top`."""
    return class_name.lower().replace("-", "_").replace("/", "_").replace(" ", "_")


def classifier_metrics(parts: Mapping[str, Predictions]) -> Metrics:
    """Return the metrics of a trained classifier.

    Args:
        parts: predictions on `train`, `validation` and `test`.

    """
    test = parts["test"]
    low, high = wilson_interval(int(test.correct.sum()), len(test.labels))
    metrics: Metrics = {
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "generalization_gap": accuracy(parts["train"]) - accuracy(parts["validation"]),
        "calibration_error": calibration_error(test),
    }
    for name in ("train", "validation", "test"):
        metrics[f"{name}_accuracy"] = accuracy(parts[name])
        metrics[f"{name}_loss"] = cross_entropy(parts[name])
        metrics[f"{name}_images"] = len(parts[name].labels)
    return metrics | {
        f"test_accuracy_{key(name)}": value for name, value in accuracy_by_class(test).items()
    }


def example_metrics(examples: Predictions, names: tuple[str, ...]) -> Metrics:
    """Return what a model says of single images: label and its probability.

    Args:
        examples: predictions, one for each name.
        names: how each image is called in the metrics, e.g. `train_image_6`.

    """
    metrics: Metrics = {}
    for name, label, row in zip(names, examples.predicted, examples.probabilities, strict=True):
        metrics[f"{name}_label"] = CLASS_NAMES[label]
        metrics[f"{name}_probability"] = float(row[label])
    return metrics
