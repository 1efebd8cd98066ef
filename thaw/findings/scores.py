"""Metrics that follow from a classifier's answers alone: the class that it names, and how sure.

The train stages take them from a model's probabilities; the report takes them again from
predictions.csv, and holds the metrics to them. Both call these functions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.findings.calibration import calibration_error
from thaw.findings.intervals import share_metrics


def answer_metrics(
    actual: NDArray[np.int64], predicted: NDArray[np.int64], confidence: NDArray[np.float64]
) -> dict[str, float]:
    """Return test accuracy with its interval and by class, and the calibration error.

    Args:
        actual: the test images' classes, (n,).
        predicted: the likeliest class of each, (n,).
        confidence: that class' probability, (n,).

    """
    correct = actual == predicted
    return {
        **share_metrics("test_accuracy", int(correct.sum()), len(correct)),
        "calibration_error": calibration_error(confidence, correct),
        **{
            f"test_accuracy_{_key(name)}": accuracy
            for name, accuracy in accuracy_by_class(actual, correct).items()
        },
    }


def accuracy_by_class(actual: NDArray[np.int64], correct: NDArray[np.bool_]) -> dict[str, float]:
    """Return the share of right answers in each class, by name; classes without images are not."""
    return {
        name: float(correct[actual == label].mean())
        for label, name in enumerate(CLASS_NAMES)
        if (actual == label).any()
    }


def spread_metrics(split: str, correct: Sequence[NDArray[np.bool_]]) -> dict[str, float]:
    """Return mean and standard deviation of a split's accuracy over at least two seeds.

    Args:
        split: its name, as in `test_accuracy_mean`.
        correct: of each seed, whether each answer is right, (n,).

    """
    accuracies = [right.mean() for right in correct]
    return {
        f"{split}_accuracy_mean": float(np.mean(accuracies)),
        f"{split}_accuracy_std": float(np.std(accuracies, ddof=1)),
    }


def chance_accuracy(labels: NDArray[np.int64]) -> float:
    """Return the accuracy of always naming the commonest class."""
    return float(np.bincount(labels).max() / len(labels))


def _key(class_name: str) -> str:
    """Return a class name as part of a metric's name, e.g. `t_shirt_top`."""
    return class_name.lower().replace("-", "_").replace("/", "_").replace(" ", "_")
