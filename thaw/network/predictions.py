"""A classifier's predictions, together with the true labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.support.errors import ThawError


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions on one split.

    Attributes:
        labels: (n,) int64, the true classes, from 0.
        probabilities: (n, classes) float32; each row sums to 1.

    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the shape and the values of the probabilities.

        Raises:
            ThawError: they are not finite, or there is no row for each label or no column for
                each class.

        """
        images, classes = self.probabilities.shape
        least = 1 + self.labels.max(initial=0)
        if images != len(self.labels) or classes < least:
            raise ThawError(
                f"predictions must be {len(self.labels)} rows of at least {least} classes. "
                f"Received: {self.probabilities.shape}"
            )
        if not np.isfinite(self.probabilities).all():
            raise ThawError(
                "the model predicts values that are not finite. Lower learning_rate and check "
                "`weights` and `value_range`."
            )

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image: (n,) int64."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is correct: (n,) bool."""
        return self.predicted == self.labels
