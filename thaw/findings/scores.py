"""Metrics that need only a classifier's predicted classes and their probabilities.

The training stages compute them from a model's output. The report computes them again from
predictions.csv, with these same functions, to check the metrics files.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support, recall_score

from thaw.findings.calibration import calibration_error
from thaw.findings.intervals import share_metrics

CLASS_COLUMNS = ("class", "images", "recall", "precision", "f1")
"""The columns of `class_metrics`."""


def answer_metrics(
    actual: NDArray[np.int64], predicted: NDArray[np.int64], confidence: NDArray[np.float64]
) -> dict[str, float]:
    """Return the test accuracy with its interval, macro recall and F1, and the calibration error.

    Macro recall and macro F1 are means over the classes that have test images, so that a rare class
    counts as much as a common one. Macro recall is also called balanced accuracy.

    Args:
        actual: the classes of the test images, (n,).
        predicted: the likeliest class of each image, (n,).
        confidence: the probability of that class, (n,).

    """
    correct = actual == predicted
    # A class without test images has no recall. Without `labels`, one that is only predicted
    # would count as 0.
    chosen = {"labels": np.unique(actual), "average": "macro", "zero_division": 0}
    return {
        **share_metrics("test_accuracy", int(correct.sum()), len(correct)),
        "test_macro_recall": float(recall_score(actual, predicted, **chosen)),
        "test_macro_f1": float(f1_score(actual, predicted, **chosen)),
        "calibration_error": calibration_error(confidence, correct),
    }


def class_metrics(
    actual: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> list[tuple[str, int, float, float, float]]:
    """Return a row of `CLASS_COLUMNS` for each class that has test images, in the labels' order.

    A class that is never predicted has a precision of 0.

    Args:
        actual: the classes of the test images, (n,).
        predicted: the likeliest class of each image, (n,).
        classes: the names of all classes, in the labels' order.

    """
    labels = np.unique(actual)
    precision, recall, f1, images = precision_recall_fscore_support(
        actual, predicted, labels=labels, zero_division=0
    )
    return [
        (classes[label], int(count), float(found), float(right), float(both))
        for label, count, found, right, both in zip(
            labels, images, recall, precision, f1, strict=True
        )
    ]


def accuracy_by_class(
    actual: NDArray[np.int64], correct: NDArray[np.bool_], classes: Sequence[str]
) -> dict[str, float]:
    """Return the accuracy in each class by class name, without the classes that have no images.

    Args:
        actual: the classes of the images, (n,).
        correct: whether each answer is right, (n,).
        classes: the names of all classes, in the labels' order.

    """
    return {classes[label]: float(correct[actual == label].mean()) for label in np.unique(actual)}


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
