"""Metrics that need only a classifier's predicted classes and their probabilities.

The training stages compute them from a model's output. The report computes them again from
predictions.csv, with these same functions, to check the metrics files.
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
    """Return the test accuracy with its interval, the accuracy by class, and the calibration error.

    Args:
        actual: the classes of the test images, (n,).
        predicted: the likeliest class of each image, (n,).
        confidence: the probability of that class, (n,).

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
    """Return the accuracy in each class by class name, without the classes that have no images."""
    return {
        name: float(correct[actual == label].mean())
        for label, name in enumerate(CLASS_NAMES)
        if (actual == label).any()
    }


def spread_metrics(split: str, correct: Sequence[NDArray[np.bool_]]) -> dict[str, float]:
    """Return the mean and the standard deviation of a split's accuracy over at least two seeds.

    Args:
        split: the split's name, which the metrics' names begin with: `test_accuracy_mean`.
        correct: one array for each seed that says whether each answer is right, (n,).

    """
    accuracies = [right.mean() for right in correct]
    return {
        # ddof=1, because the seeds are a sample of all possible ones.
        f"{split}_accuracy_mean": float(np.mean(accuracies)),
        f"{split}_accuracy_std": float(np.std(accuracies, ddof=1)),
    }


def chance_accuracy(labels: NDArray[np.int64]) -> float:
    """Return the accuracy of a classifier that always names the commonest class."""
    return float(np.bincount(labels).max() / len(labels))


def _key(class_name: str) -> str:
    """Return a class name in the form that metrics' names use, such as `t_shirt_top`."""
    return class_name.lower().replace("-", "_").replace("/", "_").replace(" ", "_")
