"""How well a classifier's probabilities match how often it is right (Guo et al. 2017)."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15
"""Bins of equal width, as in Guo et al. 2017."""


class Bin(NamedTuple):
    """The images of which the likeliest class' probability lies in one bin."""

    confidence: float
    """Mean probability."""
    accuracy: float
    images: int


def calibration_curve(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = CALIBRATION_BINS
) -> list[Bin]:
    """Return the bins (low, high] of equal width that hold images, by rising confidence.

    Args:
        confidence: the likeliest class' probability, (n,).
        correct: whether that class is right, (n,).
        bins: how many cover (0, 1].

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

    That is the mean over images of their bin's |accuracy - mean probability|, in [0, 1]. Takes what
    `calibration_curve` takes.
    """
    gaps = np.bincount(_bins(confidence, bins), correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def _bins(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the number of each confidence's bin."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
