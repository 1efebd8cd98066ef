"""The classifier on top of ResNet50's pooled features."""

import keras
import numpy as np

from thaw.config.fields import CLASSES
from thaw.config.params import Head
from thaw.network import faster

FEATURES = 2048
"""Channels that ResNet50 ends in."""


def build_head(head: Head, seed: int, *, fast: bool = False) -> keras.Model:
    """Build the classifier: (Dropout, Dense, ReLU) for each of `head.units`, then a softmax.

    The notebooks': Dropout(0.7), Dense(128, L2 0.01 on kernel and bias), ReLU, Dense(10).

    Args:
        head: its layers' sizes, dropout and penalty.
        seed: of the initial kernels. All else that was drawn before does not matter.
        fast: with the dropout and the penalty of `thaw.network.faster`. They pay where the head
            alone is trained, in many short steps.

    Returns:
        A model from features (n, 2048) float32 to probabilities (n, 10) float32.

    """
    dropout = faster.Dropout if fast else keras.layers.Dropout
    penalty = (faster.L2 if fast else keras.regularizers.L2)(head.l2)
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
            CLASSES,
            activation="softmax",
            kernel_initializer=keras.initializers.GlorotUniform(next(seeds)),
            dtype="float32",  # in half precision too, small probabilities stay above 0
            name="probabilities",
        )
    )
    return keras.Sequential(layers, name="head")
