import math

import numpy as np
import pytest
from conftest import TEN_CLASSES

from thaw.findings import evaluation
from thaw.findings.calibration import calibration_curve, calibration_error
from thaw.findings.intervals import paired_difference, wilson_interval
from thaw.findings.scores import accuracy_by_class
from thaw.network.predictions import Predictions
from thaw.support.errors import ThawError


def predictions(labels: list[int], rows: list[dict[int, float]]) -> Predictions:
    """Put the given probabilities into rows; what is left goes to class 9."""
    probabilities = np.zeros((len(rows), 10), np.float32)
    for out, row in zip(probabilities, rows, strict=True):
        out[9] = 1 - sum(row.values())
        for label, probability in row.items():
            out[label] = probability
    return Predictions(np.array(labels), probabilities)


FOUR = predictions([0, 1, 2, 0], [{0: 0.9}, {1: 0.6}, {0: 0.8, 2: 0.2}, {0: 0.5}])


def test_accuracy_and_loss_by_hand() -> None:
    assert evaluation.accuracy(FOUR) == 0.75
    expected = -(math.log(0.9) + math.log(0.6) + math.log(0.2) + math.log(0.5)) / 4
    assert evaluation.cross_entropy(FOUR) == pytest.approx(expected, rel=1e-6)


def test_a_probability_of_zero_costs_a_finite_loss() -> None:
    assert math.isfinite(evaluation.cross_entropy(predictions([3], [{0: 1.0}])))


def test_wilson_interval_of_the_literature() -> None:
    # Newcombe 1998, table I: 81 of 263, Wilson's score method without continuity correction.
    low, high = wilson_interval(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson_interval(0, 20)[0] == 0
    assert wilson_interval(20, 20)[1] == 1


def test_calibration_error_by_hand() -> None:
    # Two bins: (0, 1/2] holds 0.5 (right); (1/2, 1] holds 0.9, 0.6 (right) and 0.8 (wrong).
    expected = (abs(1 - 0.5) + abs(2 - 2.3)) / 4
    confidence = np.array([0.9, 0.6, 0.8, 0.5])
    assert calibration_error(confidence, FOUR.correct, bins=2) == pytest.approx(expected)


def test_a_sure_and_right_model_is_calibrated() -> None:
    assert calibration_error(np.ones(2), np.array([True, True])) == 0


def test_accuracy_by_class_leaves_out_classes_without_images() -> None:
    by_class = accuracy_by_class(FOUR.labels, FOUR.correct, "abcdefghij")
    assert by_class == {"a": 1.0, "b": 1.0, "c": 0.0}


def test_classifier_metrics() -> None:
    perfect = predictions([0, 1], [{0: 1.0}, {1: 1.0}])
    metrics = evaluation.classifier_metrics({"train": perfect, "validation": FOUR, "test": FOUR})
    assert metrics["generalization_gap"] == 0.25
    assert metrics["test_images"] == 4
    assert metrics["test_macro_recall"] == pytest.approx(2 / 3), "of the classes with images"
    # Each confidence is alone in its bin: |0.9 - 1|, |0.6 - 1|, |0.8 - 0| and |0.5 - 1|.
    assert metrics["calibration_error"] == pytest.approx((0.1 + 0.4 + 0.8 + 0.5) / 4)
    assert metrics["test_accuracy_low"] < 0.75 < metrics["test_accuracy_high"]
    assert all(isinstance(value, float | int | str) for value in metrics.values())


def test_seeds_by_hand() -> None:
    """Accuracies 0.75 and 1: mean 0.875, deviation 0.25 / sqrt(2)."""
    all_right = predictions([0, 0, 1, 2], [{0: 1.0}, {0: 1.0}, {1: 1.0}, {2: 1.0}])
    one, other = ({"validation": all_right, "test": test} for test in (FOUR, all_right))
    assert evaluation.seed_metrics([one]) == {"seeds": 1}
    assert evaluation.seed_metrics([one, other]) == {
        "seeds": 2,
        "test_accuracy_mean": 0.875,
        "test_accuracy_std": pytest.approx(0.25 / np.sqrt(2)),
        "validation_accuracy_mean": 1.0,
        "validation_accuracy_std": 0.0,
    }


def test_a_paired_interval_is_that_of_the_discordant_images() -> None:
    """Of 1,000 images one model alone gets 60 right, the other alone 30, and neither 500: 0.03, its
    standard error sqrt(60 + 30 - 30^2 / 1000) / 1000; an unpaired one would be over twice that."""
    one = np.ones((1, 1000), bool)
    other = one.copy()
    other[0, :60], one[0, 60:90] = False, False
    one[0, 500:], other[0, 500:] = False, False
    difference, low, high = paired_difference(one, other)
    error = np.sqrt(60 + 30 - 0.9) / 1000
    assert difference == pytest.approx(0.03)
    assert (low, high) == pytest.approx((0.03 - 1.96 * error, 0.03 + 1.96 * error), abs=0.002)
    assert paired_difference(one, other) == (difference, low, high)


def test_an_interval_knows_that_seeds_differ() -> None:
    """Where one seed is right on everything and one on nothing, nothing is known."""
    one = np.array([[True] * 50, [False] * 50])
    difference, low, high = paired_difference(one, np.full((1, 50), True))
    assert (difference, low, high) == (-0.5, -1.0, 0.0)


def test_the_calibration_curve_by_hand() -> None:
    confidence = np.array([0.55, 0.60, 0.95, 0.5])
    right = np.array([True, False, True, False])
    bins = calibration_curve(confidence, right, bins=10)
    assert bins == [
        (pytest.approx(0.5), 0.0, 1),
        (pytest.approx(0.575), 0.5, 2),
        (pytest.approx(0.95), 1.0, 1),
    ]


def test_what_a_model_says_of_single_images() -> None:
    said = evaluation.example_metrics(predictions([9], [{7: 0.75}]), TEN_CLASSES)
    assert said == {"image_label": "h", "image_probability": 0.75}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_predictions_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ThawError, match="not finite"):
        Predictions(np.array([0]), np.full((1, 10), bad, np.float32))


def test_predictions_need_a_row_for_each_label() -> None:
    with pytest.raises(
        ThawError, match=r"must be 2 rows of at least 2 classes\. Received: \(1, 10\)"
    ):
        Predictions(np.array([0, 1]), np.full((1, 10), 0.1, np.float32))
    with pytest.raises(ThawError, match=r"1 rows of at least 11 classes\. Received: \(1, 10\)"):
        Predictions(np.array([10]), np.full((1, 10), 0.1, np.float32))
