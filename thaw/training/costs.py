"""The cost of training, in multiply-accumulate operations (MACs)."""

import math

import keras

BACKWARD = 2
"""Cost of a layer's backward pass in forward passes: one for each of the two gradients.

They are those of its inputs and of its weights."""


def cost(backbone: keras.Model, frozen: int, epochs: int, cached: bool) -> int:
    """Return the MACs of `backbone` for one training image in all `epochs`.

    The trained layers run forward and backward in every epoch. The frozen layers only run forward,
    in every epoch or, if their output is cached, once.

    Args:
        backbone: a built ResNet50.
        frozen: how many of its first layers are frozen.
        epochs: of the training.
        cached: whether the output of the frozen layers is cached.

    """
    costs = [macs(layer) for layer in backbone.layers]
    before, after = sum(costs[:frozen]), (1 + BACKWARD) * sum(costs[frozen:])
    return before * (1 if cached else epochs) + after * epochs


def macs(layer: keras.layers.Layer) -> int:
    """Return the MACs of a convolution for one image. Other layers need few and count as 0."""
    if not isinstance(layer, keras.layers.Conv2D):
        return 0
    _, height, width, _ = layer.output.shape
    return height * width * math.prod(layer.kernel.shape)
