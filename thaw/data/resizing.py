"""Resize gray images, and convert them to RGB.

The result is that of the notebooks' `skimage.transform.resize(order=1, mode='constant')`. That is
linear and separable. So scikit-image computes the operator once, by resizing the identity matrix,
and two matrix products apply it to a whole batch. The operator's entries are ratios of small
integers. In units of their common denominator all sums are exact, so the bytes are the same on any
processor.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize


@lru_cache
def resize_operator(source: int, target: int) -> tuple[NDArray[np.float64], int]:
    """Return scikit-image's linear resizing from `source` to `target` pixels as integers.

    Target pixel i lies at (i + 1/2) source/target - 1/2 on the source grid, a multiple of
    1 / (2 target), and so are the two weights of linear interpolation there.

    Returns:
        The operator (target, source), float64 with integer values, and the integer to divide
        it by.

    """
    operator = resize(np.eye(source), (target, source), order=1, mode="constant")
    denominator = 2 * target // gcd(2 * target, 2 * source, target - source)
    return np.rint(operator * denominator), denominator


def resize_gray(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize square gray images (n, side, side) to (n, size, size) uint8, rounding half up."""
    operator, denominator = resize_operator(images.shape[1], size)
    scale = denominator**2
    # float32 is exact for integers below 2^24. Then the order of a sum does not change its result.
    exact = np.float32 if 255 * scale < 1 << 24 else np.float64
    operator = operator.astype(exact)
    whole = operator @ images.astype(exact) @ operator.T
    # Use a narrow type where it suffices and work in place: memory limits the speed here.
    whole = whole.astype(np.uint16 if 256 * scale <= 1 << 16 else np.uint32)
    whole += scale // 2
    whole //= scale
    return whole.astype(np.uint8)


def to_rgb(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat gray images (n, h, w) in three channels, (n, h, w, 3)."""
    return np.repeat(gray[..., np.newaxis], 3, axis=-1)
