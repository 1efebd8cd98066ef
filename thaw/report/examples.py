"""Single test images that the report shows: the surest mistakes, and one image of each class."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from thaw.data.image_store import Images
from thaw.report.results import Results, TestPredictions

MISTAKES = 10
"""How many wrong answers of each mode the report shows."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: the test image, its class, the predicted class, and its probability.

    `file` is the picture's file in the dataset's folder; Fashion-MNIST has none.
    """

    test_image: int
    actual: str
    predicted: str
    confidence: float
    file: str | None


@dataclass(frozen=True)
class BeforeAfter:
    """A test image and its class, ResNet50's name for it before retraining, and each mode's."""

    test_image: int
    actual: str
    before: str
    after: dict[str, str]
    file: str | None


def mistakes(answers: TestPredictions, results: Results) -> Iterator[Mistake]:
    """Yield the saved model's `MISTAKES` most confident wrong answers, most confident first."""
    # A stable sort keeps the order of the images where confidences are equal.
    wrong = np.flatnonzero(~answers.correct[0])
    confidence, classes = answers.confidence[0], results.dataset.classes
    for image in wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]:
        position = int(results.test.positions[image])
        yield Mistake(
            position,
            classes[answers.actual[image]],
            classes[answers.predicted[0][image]],
            float(confidence[image]),
            results.files.get(position),
        )


def before_after(results: Results) -> Iterator[BeforeAfter]:
    """Yield one test image of each class: the first that ResNet50 has classified, or the first."""
    # ResNet50 may have classified other test images than the ones that the modes were tested on.
    row_of = rows_by_position(results.test)
    shown = [position for position in sorted(results.named) if position in row_of]
    # It may have named no image of a class, or none at all; then the first of the class will do.
    first: dict[int, int] = {}
    for position in [*shown, *sorted(row_of)]:
        first.setdefault(int(results.test.labels[row_of[position]]), position)
    classes = results.dataset.classes
    for label, position in sorted(first.items()):
        after = {
            mode: classes[of.predicted[0][row_of[position]]] for mode, of in results.answers.items()
        }
        before = results.named.get(position, "-")
        yield BeforeAfter(position, classes[label], before, after, results.files.get(position))


def rows_by_position(test: Images) -> Mapping[int, int]:
    """Return the row in `test` of each image, by its position among all test images."""
    return {int(position): row for row, position in enumerate(test.positions)}
