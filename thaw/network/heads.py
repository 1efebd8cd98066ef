"""The classifier on top of ResNet50's pooled features."""

import keras
import numpy as np

from thaw.config.params import Head
from thaw.network import faster

FEATURES = 2048
"""Channels of ResNet50's last feature map."""


def build_head(head: Head, classes: int, seed: int, *, fast: bool = False) -> keras.Model:
    """Build the classifier: (Dropout, Dense, ReLU) for each of `head.units`, then a softmax.

    The notebooks used Dropout(0.7), Dense(128, L2 0.01 on kernel and bias), ReLU, Dense(10).

    Args:
        head: the sizes of the layers, the dropout rate and the L2 penalty.
        classes: how many classes the softmax has.
        seed: of the initial kernels and the dropout. The state of global generators has no effect.
        fast: use the dropout of `thaw.network.faster`. It is worth it where only the head is
            trained, in many short steps.

    Returns:
        A model from features (n, 2048) float32 to probabilities (n, classes) float32.

    """
    dropout = faster.Dropout if fast else keras.layers.Dropout
    penalty = keras.regularizers.L2(head.l2)
    # One seed for each layer that draws numbers: two layers with one seed would draw the same.
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * len(head.units) + 1).tolist())
    layers: list[keras.layers.Layer] = [keras.Input((FEATURES,), name="features")]
    for units in head.units:
        layers += [
            dropout(head.dropout, seed=next(seeds)),
            keras.layers.Dense(
                units,
                activation="relu",
                kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
                kernel_regularizer=penalty,
                bias_regularizer=penalty,
            ),
        ]
    layers.append(
        keras.layers.Dense(
            classes,
            activation="softmax",
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            dtype="float32",  # under mixed precision too: half precision rounds small values to 0
            name="probabilities",
        )
    )
    return keras.Sequential(layers, name="head")
