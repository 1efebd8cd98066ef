"""The classifier on top of ResNet50's pooled features."""

import keras

from thaw.params import CLASSES, Head

FEATURES = 2048
"""Channels that ResNet50 ends in."""


def build_head(head: Head) -> keras.Model:
    """Build the classifier: (Dropout, Dense, ReLU) for each of `head.units`, then a softmax.

    The notebooks': Dropout(0.7), Dense(128, L2 0.01 on kernel and bias), ReLU, Dense(10). Initial
    weights and dropout draw from Keras' global generator: seed it first.

    Returns:
        A model from features (n, 2048) float32 to probabilities (n, 10) float32.

    """
    layers: list[keras.layers.Layer] = [keras.Input((FEATURES,), name="features")]
    for units in head.units:
        layers += [
            keras.layers.Dropout(head.dropout),
            keras.layers.Dense(
                units,
                activation="relu",
                kernel_regularizer=keras.regularizers.L2(head.l2),
                bias_regularizer=keras.regularizers.L2(head.l2),
            ),
        ]
    layers.append(
        keras.layers.Dense(CLASSES, activation="softmax", dtype="float32", name="probabilities")
    )
    return keras.Sequential(layers, name="head")
