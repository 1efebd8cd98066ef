"""The report's own tables, computed once so that figures, CSV files and pages agree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images
from thaw.findings.calibration import Bin, calibration_curve
from thaw.findings.intervals import paired_difference
from thaw.findings.scores import accuracy_by_class
from thaw.report.results import MODES, Metrics, Results, TestPredictions

MISTAKES = 10
"""How many wrong answers of each mode the report shows."""
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
        calibration_error: the expected calibration error on the test images, in [0, 1].
        parameters_trained: how many parameters were trained.
        train_images: how many different images the model was trained on.
        images_seen: how many images passed through training, repeats included.
        test_images: how many images the accuracy was measured on.
        seeds: how many seeds the model was trained with.
        mean: the mean test accuracy over the seeds.
        deviation: the standard deviation of the test accuracy over the seeds.
        uses_weights: whether the model starts from the pretrained weights.

    """

    name: str
    accuracy: float
    low: float | None = None
    high: float | None = None
    gap: float | None = None
    calibration_error: float | None = None
    parameters_trained: int | None = None
    train_images: int | None = None
    images_seen: int | None = None
    test_images: int | None = None
    seeds: int = 1
    mean: float | None = None
    deviation: float | None = None
    uses_weights: bool = False


@dataclass(frozen=True)
class Difference:
    """The difference between two modes' test accuracies, with a paired 95 % interval.

    The numbers are rounded to `DIGITS`, so that what the report says about an interval agrees with
    the digits that it shows.
    """

    mode: str
    than: str
    difference: float
    low: float
    high: float

    @property
    def may_be_none(self) -> bool:
        """Whether the interval includes 0."""
        return self.low <= 0 <= self.high

    @property
    def turned(self) -> "Difference":
        """The same difference with the two modes exchanged."""
        return Difference(self.than, self.mode, -self.difference, -self.high, -self.low)


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: the test image, its class, the predicted class, and its probability."""

    test_image: int
    actual: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class BeforeAfter:
    """A test image and its class, ResNet50's name for it before retraining, and each mode's."""

    test_image: int
    actual: str
    before: str
    after: dict[str, str]


@dataclass(frozen=True)
class Tables:
    """The report's tables. All mappings are by mode, and `classes` within it by class name."""

    comparison: list[ComparisonRow]
    differences: list[Difference]
    classes: dict[str, dict[str, float]]
    calibration: dict[str, list[Bin]]
    mistakes: dict[str, list[Mistake]]
    before_after: list[BeforeAfter]


def tables(results: Results) -> Tables:
    """Return the tables that are computed from the results."""
    baseline, answers = results.metrics["baseline"], results.answers
    return Tables(
        comparison=[
            *_references(baseline),
            *(_compared(mode, results.metrics[mode]) for mode in MODES),
        ],
        differences=[
            Difference(
                one, other, *(round(v, DIGITS) for v in paired_difference(a.correct, b.correct))
            )
            for (one, a), (other, b) in combinations(answers.items(), 2)
        ],
        classes={mode: accuracy_by_class(of.actual, of.correct[0]) for mode, of in answers.items()},
        calibration={
            mode: calibration_curve(of.confidence[0], of.correct[0]) for mode, of in answers.items()
        },
        mistakes={mode: list(_mistakes(of, results.test)) for mode, of in answers.items()},
        before_after=list(_before_after(results)),
    )


def _references(baseline: Metrics) -> Iterator[ComparisonRow]:
    yield ComparisonRow("chance", baseline["chance_accuracy"])
    yield ComparisonRow(
        "linear on pixels",
        *_share(baseline, "linear_pixels_accuracy"),
        train_images=baseline["linear_pixels_train_images"],
        test_images=baseline["linear_pixels_test_images"],
    )
    if baseline["has_1000_class_top"]:
        yield ComparisonRow(
            f"zero-shot, {baseline['zero_shot_image_size']} px",
            *_share(baseline["0-255"], "zero_shot_accuracy"),
            test_images=baseline["zero_shot_images"],
            uses_weights=True,
        )


def _share(metrics: Metrics, name: str) -> tuple[float, float, float]:
    return metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"]


def _compared(mode: str, metrics: Metrics) -> ComparisonRow:
    frozen = f", {metrics['layers_frozen']} layers frozen" if mode == "partial" else ""
    return ComparisonRow(
        MODES[mode] + frozen,
        *_share(metrics, "test_accuracy"),
        gap=metrics["generalization_gap"],
        calibration_error=metrics["calibration_error"],
        parameters_trained=metrics["parameters_trainable"],
        train_images=metrics["train_images"],
        images_seen=metrics["images_seen"],
        test_images=metrics["test_images"],
        seeds=metrics["seeds"],
        mean=metrics.get("test_accuracy_mean"),
        deviation=metrics.get("test_accuracy_std"),
        uses_weights=True,
    )


def _mistakes(answers: TestPredictions, test: Images) -> Iterator[Mistake]:
    """Yield the saved model's `MISTAKES` most confident wrong answers, most confident first."""
    # A stable sort keeps the order of the images where confidences are equal.
    wrong = np.flatnonzero(~answers.correct[0])
    confidence = answers.confidence[0]
    for image in wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]:
        yield Mistake(
            int(test.positions[image]),
            CLASS_NAMES[answers.actual[image]],
            CLASS_NAMES[answers.predicted[0][image]],
            float(confidence[image]),
        )


def _before_after(results: Results) -> Iterator[BeforeAfter]:
    """Yield one test image of each class: the first that ResNet50 has classified."""
    # ResNet50 may have classified other test images than the ones that the modes were tested on.
    row_of = rows_by_position(results.test)
    shown = [position for position in sorted(results.named) if position in row_of]
    # Weights without a 1000-class top have named no image; then the first of each class will do.
    first: dict[int, int] = {}
    for position in shown or sorted(row_of):
        first.setdefault(int(results.test.labels[row_of[position]]), position)
    for label, position in sorted(first.items()):
        after = {
            mode: CLASS_NAMES[of.predicted[0][row_of[position]]]
            for mode, of in results.answers.items()
        }
        before = results.named.get(position, "-")
        yield BeforeAfter(position, CLASS_NAMES[label], before, after)


def rows_by_position(test: Images) -> Mapping[int, int]:
    """Return the row in `test` of each image, by its position among the 10,000 test images."""
    return {int(position): row for row, position in enumerate(test.positions)}
