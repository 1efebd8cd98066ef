"""Random changes to training images, which differ in every epoch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.config.params import Augment

Augmentation = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
"""Returns a changed copy of a batch of inputs, as the generator decides."""


def augmentation(augment: Augment, gray: bool) -> Augmentation | None:
    """Return a function that changes images as `augment` says, or None if it says nothing.

    The function takes and returns images (n, side, side, channels) uint8. It mirrors each image
    left to right with probability 1/2, moves it by up to `shift` pixels in each direction, enlarges
    or shrinks it by up to the share `zoom`, and makes it lighter or darker by up to the share
    `brightness` of 255. Pixels that come in from outside repeat the edge of a picture. If the
    images are `gray`, as Fashion-MNIST's, they are black like the background there.
    """
    # Moves by whole pixels copy values. Keras' own layers would interpolate.
    moves = augment.flip or augment.shift > 0
    layers = _keras_layers(augment, gray)

    def change(images: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
        if moves:
            images = _moved(images, augment, gray, random)
        return _through(layers, images, random) if layers else images

    return change if moves or layers else None


def _moved(
    images: NDArray[Any], augment: Augment, gray: bool, random: np.random.Generator
) -> NDArray[Any]:
    """Return the images mirrored and shifted."""
    side, most = images.shape[1], augment.shift
    # Drawn even without flips, so that `flip` does not change the shifts of a seed.
    flips = random.random(len(images)) < (0.5 if augment.flip else 0)
    offsets = random.integers(0, 2 * most + 1, (len(images), 2))
    beyond = ((0, 0), (most, most), (most, most), (0, 0))
    padded = np.pad(images, beyond) if gray else np.pad(images, beyond, "edge")
    windows = [
        image[top : top + side, left : left + side]
        for image, (top, left) in zip(padded, offsets, strict=True)
    ]
    return np.stack(
        [window[:, ::-1] if flip else window for window, flip in zip(windows, flips, strict=True)]
    )


def _keras_layers(augment: Augment, gray: bool) -> list[keras.layers.Layer]:
    layers: list[keras.layers.Layer] = []
    if augment.zoom:
        fill = "constant" if gray else "nearest"
        layers.append(
            keras.layers.RandomZoom(augment.zoom, fill_mode=fill, seed=0, dtype="float32")
        )
    if augment.brightness:
        layers.append(
            keras.layers.RandomBrightness(augment.brightness, (0, 255), seed=0, dtype="float32")
        )
    return layers


def _through(
    layers: list[keras.layers.Layer], images: NDArray[Any], random: np.random.Generator
) -> NDArray[Any]:
    """Return the images after Keras' layers, as the generator decides."""
    changed = images.astype(np.float32)
    for layer in layers:
        # Keras does not save a layer's random state, so a resumed run would draw other changes.
        layer.generator.state.assign(random.integers(1 << 32, size=2, dtype=np.uint32))
        changed = layer(changed, training=True)
    return np.rint(keras.ops.convert_to_numpy(changed)).clip(0, 255).astype(images.dtype)
