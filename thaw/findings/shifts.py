"""The shift between the batch statistics of training and the stored statistics of validation."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from thaw.network.backbone import BatchNormalization


def statistics_shift(base: keras.Model, inputs: keras.KerasTensor, batch: int) -> dict[str, float]:
    """Return how far training's statistics are from validation's, by batch normalisation layer.

    The shift is |m - M| / sqrt(V + epsilon), averaged over channels and batches. m is the mean by
    which training normalises a channel. M and V are the stored mean and variance, by which
    validation normalises it. The shift is 0 for a layer that uses the stored ones in training too.

    Args:
        base: ResNet50 without its top.
        inputs: preprocessed images, (n, size, size, 3).
        batch: the number of images in a training batch.

    Returns:
        The shift in standard deviations, by layer name in the network's order.

    """
    layers = [each for each in base.layers if isinstance(each, keras.layers.BatchNormalization)]
    before = {layer.name: layer.get_weights() for layer in layers}
    moving = [layer for layer in layers if _trains_on_the_batch(layer)]
    shifts = {layer.name: 0.0 for layer in layers}
    if not moving:
        return shifts
    means = keras.Model(base.input, [ops.mean(layer.input, axis=(0, 1, 2)) for layer in moving])
    # Keras would hold the output of every layer in an eager call; a graph frees them early.
    seen = tf.function(means)
    # A short last batch is left out, unless it is the only one: fewer images have noisier means.
    starts = range(0, max(len(inputs) - batch, 0) + 1, batch)
    for start in starts:
        outputs = keras.tree.flatten(seen(inputs[start : start + batch], training=True))
        for layer, batch_mean in zip(moving, outputs, strict=True):
            _, _, mean, variance = before[layer.name]
            distance = np.abs(batch_mean.numpy() - mean) / np.sqrt(variance + layer.epsilon)
            shifts[layer.name] += float(distance.mean()) / len(starts)
    # Calls with training=True have updated the running statistics of thawed layers.
    for layer in layers:
        layer.set_weights(before[layer.name])
    return shifts


def _trains_on_the_batch(layer: keras.layers.BatchNormalization) -> bool:
    # thaw's own subclass normalises by the batch even where it is frozen.
    return layer.trainable or isinstance(layer, BatchNormalization)
