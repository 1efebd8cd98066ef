"""Calibration: how well a classifier's probabilities match its accuracy (Guo et al. 2017)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15
"""The number of bins of equal width that Guo et al. 2017 use."""


class Bin(NamedTuple):
    """The images whose probability of the likeliest class falls into one bin."""

    confidence: float
    """The mean probability of the likeliest class, in [0, 1]."""
    accuracy: float
    """The share of right answers, in [0, 1]."""
    images: int
    """How many images fall into the bin, at least 1."""


def calibration_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> list[Bin]:
    """Return the bins that hold images, in order of rising confidence.

    All bins have the same width and are half-open: (low, high].

    Args:
        confidence: the probability of each image's likeliest class, (n,).
        correct: whether that class is right, (n,).
        bins: the number of bins that cover (0, 1].

    """
    index = _bins(confidence, bins)
    return [
        Bin(float(confidence[index == i].mean()), float(correct[index == i].mean()), int(count))
        for i, count in enumerate(np.bincount(index, minlength=bins))
        if count
    ]


def calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error (Naeini et al. 2015; Guo et al. 2017, eq. 3).

    This is the mean over all images of |accuracy - mean probability| in the image's bin, in [0, 1].
    The arguments are those of `calibration_curve`.
    """
    # The sum of (correct - confidence) over a bin is its size times (accuracy - mean probability),
    # so neither mean has to be computed.
    gaps = np.bincount(_bins(confidence, bins), correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _bins(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the number of the bin that each confidence falls into, from 0."""
    # The upper edge belongs to a bin, hence ceil. The clip puts a confidence of 0 into bin 0.
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
