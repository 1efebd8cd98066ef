"""Random changes to training images, which differ in every epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thaw.config.params import Augment

Augmentation = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""Returns a changed copy of a batch of inputs, as the generator decides."""


def augmentation(augment: Augment) -> Augmentation | None:
    """Return a function that mirrors and shifts images, or None if `augment` asks for neither.

    The function takes and returns images (n, side, side, channels) of any dtype. It mirrors each
    image left to right with probability 1/2, and moves it by up to `shift` pixels in each
    direction. The pixels that move in are black, like the background of Fashion-MNIST.
    """

    def change(images: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
        side, most = images.shape[1], augment.shift
        # Drawn even without flips, so that `flip` does not change the shifts of a seed.
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
