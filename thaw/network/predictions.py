"""What a classifier predicted, and for which labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.support.errors import ThawError


@dataclass(frozen=True)
class Predictions:
    """A classifier's predictions on one split.

    Attributes:
        labels: (n,) int64, 0..9.
        probabilities: (n, 10) float32, rows that sum to 1.

    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse what no classifier can have said.

        Raises:
            ThawError: probabilities are not finite, or there is not one row for each label.

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
        """The likeliest class of each image."""
        return self.probabilities.argmax(axis=1)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right."""
        return self.predicted == self.labels
