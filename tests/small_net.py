"""A small net, and what it is trained on."""

import keras
import numpy as np

from thaw.config.params import Training
from thaw.training.batches import Batches

FEATURES = np.random.default_rng(0).normal(size=(50, 8)).astype("float32")
LABELS = (FEATURES[:, 0] > 0).astype(np.int64) + 2 * (FEATURES[:, 1] > 0)


def settings(**changes: float) -> Training:
    values = {"images": 0, "epochs": 4, "batch_size": 16, "learning_rate": 0.01, "patience": 0}
    return Training.model_validate(values | {"seeds": 1, "label_smoothing": 0.0} | changes)


def batches(seed: int | None = 7, accumulation_steps: int = 1) -> Batches:
    return Batches(FEATURES.__getitem__, LABELS, 16, seed, accumulation_steps=accumulation_steps)


def network() -> keras.Model:
    """A small net with all that a resumed run must bring back: dropout, batch norm, Adam."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, activation="relu", name="conv5_dense"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )


def others() -> Batches:
    """Labels that have nothing to do with what is learnt: validation loss soon rises."""
    return Batches(FEATURES.__getitem__, LABELS[::-1].copy(), 50)
