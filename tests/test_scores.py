"""Metrics and intervals over classes of different sizes, against values computed by hand."""

import warnings

import numpy as np
import pytest

from thaw.findings.intervals import macro_recall, macro_recall_interval, paired_difference
from thaw.findings.scores import accuracy_by_class, answer_metrics, class_metrics

NAMES = ("cat", "dog", "eel")
ACTUAL = np.array([0, 0, 0, 0, 1, 1])
PREDICTED = np.array([0, 0, 0, 1, 1, 2])
"""Three of four cats are right, one of two dogs; one dog is called an eel, which is no class of
these images."""


def test_macro_metrics_by_hand() -> None:
    """Recall: 3/4 and 1/2. F1: 2 * 3 / (3 + 4) for cats, 2 * 1 / (2 + 2) for dogs."""
    metrics = answer_metrics(ACTUAL, PREDICTED, np.full(6, 0.5))
    assert metrics["test_accuracy"] == pytest.approx(4 / 6)
    assert metrics["test_macro_recall"] == pytest.approx(0.625)
    assert metrics["test_macro_f1"] == pytest.approx((6 / 7 + 1 / 2) / 2)
    assert not [name for name in metrics if "cat" in name]


def test_the_metrics_of_each_class_by_hand() -> None:
    cat, dog = class_metrics(ACTUAL, PREDICTED, NAMES)
    assert cat == ("cat", 4, 0.75, 1.0, pytest.approx(6 / 7))
    assert dog == ("dog", 2, 0.5, 0.5, 0.5)
    assert accuracy_by_class(ACTUAL, ACTUAL == PREDICTED, NAMES) == {"cat": 0.75, "dog": 0.5}


def test_as_many_classes_as_images_warn_of_nothing() -> None:
    labels = np.arange(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = answer_metrics(labels, labels[::-1].copy(), np.full(50, 0.5))
        rows = class_metrics(labels, labels, [str(label) for label in labels])
    assert metrics["test_macro_recall"] == 0
    assert len(rows) == 50


CLASSES = np.array([1, 0, 0])
HALF = np.array([[True, True, False]])
"""One of the two images of class 0 is right, and the only image of class 1."""


def test_a_stratified_interval_by_hand() -> None:
    """Macro recall is (1/2 + 1) / 2. Drawing within class 0 gives 0, 1/2 or 1 for its half of it,

    with probabilities 1/4, 1/2 and 1/4, and class 1 always gives 1: 0.5, 0.75 or 1.
    """
    assert macro_recall(HALF, CLASSES) == 0.75
    assert macro_recall_interval(HALF[0], CLASSES) == (0.5, 1.0)
    none = np.zeros_like(HALF)
    assert paired_difference(HALF, none, classes=CLASSES) == (0.75, 0.5, 1.0)
    # At 40 %, the interval's ends are the quantiles 0.3 and 0.7, between 1/4 and 3/4.
    assert paired_difference(HALF, none, confidence=0.4, classes=CLASSES) == (0.75, 0.75, 0.75)


def test_a_stratified_difference_is_paired_and_keeps_the_classes() -> None:
    """Of models that differ in all images of class 1 alone, every draw gives the same."""
    classes = np.array([0] * 90 + [1] * 10)
    one, other = np.full((1, 100), True), np.array([[True] * 90 + [False] * 10])
    assert paired_difference(one, other, classes=classes) == pytest.approx((0.5, 0.5, 0.5))
    difference, low, high = paired_difference(one, other)
    assert difference == pytest.approx(0.1)
    assert low < 0.1 < high


def test_a_stratified_difference_draws_seeds_too() -> None:
    """One seed is always right and the other never: their mean is 0, 1/2 or 1."""
    seeds = np.array([[True] * 3, [False] * 3])
    none = np.zeros((1, 3), np.bool_)
    assert paired_difference(seeds, none, classes=CLASSES) == (0.5, 0.0, 1.0)
