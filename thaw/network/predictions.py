"""A classifier's predictions, together with the true labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.support.errors import ThawError


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions on one split.

    Attributes:
        labels: (n,) int64, the true classes, 0 to 9.
        probabilities: (n, 10) float32; each row sums to 1.

    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the shape and the values of the probabilities.

        Raises:
            ThawError: they are not finite, or their shape is not (number of labels, 10).

        """
        if self.probabilities.shape != (len(self.labels), len(CLASS_NAMES)):
            raise ThawError(
                f"predictions must be {(len(self.labels), len(CLASS_NAMES))}. "
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
