"""Changes to training images, drawn anew in every epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.config.params import Augment

Augmentation = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""Changes a batch of inputs at random."""


def augmentation(augment: Augment) -> Augmentation | None:
    """Return what mirrors and shifts images (n, side, side, channels), or None for nothing.

    Each image is mirrored left to right with even odds, and moved by up to `shift` pixels each way;
    what comes in is black, Fashion-MNIST's background.
    """

    def change(images: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
        side, most = images.shape[1], augment.shift
        flips = random.random(len(images)) < (0.5 if augment.flip else 0)
        offsets = random.integers(0, 2 * most + 1, (len(images), 2))
        padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
        windows = [
            image[top : top + side, left : left + side]
            for image, (top, left) in zip(padded, offsets, strict=True)
        ]
        return np.stack(
            [
                window[:, ::-1] if flip else window
                for window, flip in zip(windows, flips, strict=True)
            ]
        )

    return change if augment.some else None
