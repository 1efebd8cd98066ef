"""The report's own tables, computed once so that figures, CSV files and pages agree."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from thaw.findings.calibration import Bin, calibration_curve
from thaw.findings.intervals import macro_recall_interval, paired_difference
from thaw.findings.scores import accuracy_by_class
from thaw.report.examples import BeforeAfter, Mistake, before_after, mistakes
from thaw.report.results import MODES, Metrics, Results, TestPredictions

MANY_CLASSES = 20
"""With more classes, a confusion matrix has no room for numbers, and a table gives the largest."""
CONFUSIONS = 15
"""How many confusions that table has."""
DIGITS = 4
"""The decimal places of the numbers that are computed here."""


@dataclass(frozen=True)
class ComparisonRow:
    """A line of the comparison. Fields that do not apply are None.

    Attributes:
        name: the model's name in the table.
        accuracy: the test accuracy, in [0, 1].
        low: the low end of its 95 % interval.
        high: the high end of its 95 % interval.
        gap: accuracy on train minus accuracy on validation.
        macro_recall: the mean over the classes of the share that is named right, in [0, 1].
        macro_low: the low end of its 95 % interval, if the classes are imbalanced.
        macro_high: the high end of it.
        macro_f1: the mean F1 over the classes, in [0, 1].
        calibration_error: the expected calibration error on the test images, in [0, 1].
        parameters_trained: how many parameters were trained.
        train_images: how many different images the model was trained on.
        images_seen: how many images passed through training, repeats included.
        seeds: how many seeds the model was trained with.
        mean: the mean test accuracy over the seeds.
        deviation: the standard deviation of the test accuracy over the seeds.

    """

    name: str
    accuracy: float
    low: float | None = None
    high: float | None = None
    gap: float | None = None
    macro_recall: float | None = None
    macro_low: float | None = None
    macro_high: float | None = None
    macro_f1: float | None = None
    calibration_error: float | None = None
    parameters_trained: int | None = None
    train_images: int | None = None
    images_seen: int | None = None
    seeds: int = 1
    mean: float | None = None
    deviation: float | None = None


@dataclass(frozen=True)
class Difference:
    """The difference between two modes' accuracies or macro recalls, with a paired 95 % interval.

    The numbers are rounded to `DIGITS`, so that what the report says about an interval agrees with
    the digits that it shows.
    """

    mode: str
    than: str
    difference: float
    low: float
    high: float

    @property
    def turned(self) -> "Difference":
        """The same difference with the two modes exchanged."""
        return Difference(self.than, self.mode, -self.difference, -self.high, -self.low)


@dataclass(frozen=True)
class Confusion:
    """How many test images of the class `actual` were called `predicted`."""

    actual: str
    predicted: str
    images: int


@dataclass(frozen=True)
class Tables:
    """The report's tables. All mappings are by mode, and `classes` within it by class name.

    `macro_differences` is empty unless the classes are imbalanced. `confusions` is empty unless
    there are more than `MANY_CLASSES`.
    """

    comparison: list[ComparisonRow]
    differences: list[Difference]
    macro_differences: list[Difference]
    classes: dict[str, dict[str, float]]
    calibration: dict[str, list[Bin]]
    confusions: dict[str, list[Confusion]]
    mistakes: dict[str, list[Mistake]]
    before_after: list[BeforeAfter]


def tables(results: Results) -> Tables:
    """Return the tables that are computed from the results."""
    answers, classes, labels = results.answers, results.dataset.classes, results.test.labels
    uneven = imbalanced(labels)
    return Tables(
        comparison=[
            *_references(results),
            *(_compared(mode, results, uneven) for mode in MODES),
        ],
        differences=list(_differences(answers)),
        macro_differences=list(_differences(answers, labels)) if uneven else [],
        classes={
            mode: accuracy_by_class(of.actual, of.correct[0], classes)
            for mode, of in answers.items()
        },
        calibration={
            mode: calibration_curve(of.confidence[0], of.correct[0]) for mode, of in answers.items()
        },
        confusions={
            mode: list(_confusions(of, classes))
            for mode, of in answers.items()
            if len(classes) > MANY_CLASSES
        },
        mistakes={mode: list(mistakes(of, results)) for mode, of in answers.items()},
        before_after=list(before_after(results)),
    )


def _differences(
    answers: Mapping[str, TestPredictions], classes: NDArray[np.int64] | None = None
) -> Iterator[Difference]:
    """Yield each pair of modes once, with the difference in macro recall if `classes` are given."""
    for (one, a), (other, b) in combinations(answers.items(), 2):
        measured = paired_difference(a.correct, b.correct, classes=classes)
        yield Difference(one, other, *(round(value, DIGITS) for value in measured))


def _references(results: Results) -> Iterator[ComparisonRow]:
    baseline = results.metrics["baseline"]
    yield ComparisonRow("chance", baseline["chance_accuracy"])
    yield ComparisonRow(
        "linear on pixels",
        *_share(baseline, "linear_pixels_accuracy"),
        train_images=baseline["linear_pixels_train_images"],
    )
    if results.has_zero_shot:
        yield ComparisonRow(
            f"zero-shot, {baseline['zero_shot_image_size']} px, "
            f"{baseline['zero_shot_images']:,} images",
            *_share(baseline["0-255"], "zero_shot_accuracy"),
        )


def _share(metrics: Metrics, name: str) -> tuple[float, float, float]:
    return metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"]


def _compared(mode: str, results: Results, uneven: bool) -> ComparisonRow:
    metrics, answers = results.metrics[mode], results.answers[mode]
    macro: Sequence[float | None] = (None, None)
    if uneven:
        ends = macro_recall_interval(answers.correct[0], answers.actual)
        macro = [round(end, DIGITS) for end in ends]
    frozen = f", {metrics['layers_frozen']} layers frozen" if mode == "partial" else ""
    return ComparisonRow(
        MODES[mode] + frozen,
        *_share(metrics, "test_accuracy"),
        gap=metrics["generalization_gap"],
        macro_recall=metrics["test_macro_recall"],
        macro_low=macro[0],
        macro_high=macro[1],
        macro_f1=metrics["test_macro_f1"],
        calibration_error=metrics["calibration_error"],
        parameters_trained=metrics["parameters_trainable"],
        train_images=metrics["train_images"],
        images_seen=metrics["images_seen"],
        seeds=metrics["seeds"],
        mean=metrics.get("test_accuracy_mean"),
        deviation=metrics.get("test_accuracy_std"),
    )


def _confusions(answers: TestPredictions, classes: Sequence[str]) -> Iterator[Confusion]:
    """Yield the saved model's most frequent confusions, the most frequent first."""
    wrong = ~answers.correct[0]
    pairs = zip(answers.actual[wrong].tolist(), answers.predicted[0][wrong].tolist(), strict=True)
    # Sorting by class first keeps equally frequent pairs in one order.
    for (actual, predicted), images in Counter(sorted(pairs)).most_common(CONFUSIONS):
        yield Confusion(classes[actual], classes[predicted], images)


def imbalanced(labels: NDArray[np.int64]) -> bool:
    """Whether the largest class has over twice as many images as the smallest that has any."""
    sizes = np.unique(labels, return_counts=True)[1]
    return bool(sizes.max() > 2 * sizes.min())
