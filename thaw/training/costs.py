"""What training costs, in multiply-accumulate operations (MACs)."""

import math

import keras

BACKWARD = 2
"""Cost of a layer's backward pass in forward passes: gradients of its inputs and its weights."""


def cost(backbone: keras.Model, frozen: int, epochs: int, cached: bool) -> int:
    """Return the MACs of `backbone` for one training image in all `epochs`.

    The thawed part runs forward and backward in every epoch. The frozen part runs forward in every
    epoch, or only once where its output is cached.
    """
    costs = [macs(layer) for layer in backbone.layers]
    before, after = sum(costs[:frozen]), (1 + BACKWARD) * sum(costs[frozen:])
    return before * (1 if cached else epochs) + after * epochs


def macs(layer: keras.layers.Layer) -> int:
    """Return the MACs of a convolution for one image; those of other layers are few: 0."""
    if not isinstance(layer, keras.layers.Conv2D):
        return 0
    _, height, width, _ = layer.output.shape
    return height * width * math.prod(layer.kernel.shape)
