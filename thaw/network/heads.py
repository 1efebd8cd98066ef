"""The classifier on top of ResNet50's pooled features."""

import keras
import tensorflow as tf

from thaw.config.fields import CLASSES
from thaw.config.params import Head

FEATURES = 2048
"""Channels that ResNet50 ends in."""


DRAWS = 1 << 16
"""Values that a draw of 16 bits may have."""


class QuickDropout(keras.layers.Dropout):
    """Dropout that draws 16 random bits a value, not 32: drawing is what its time goes to.

    The rate is rounded to 1/65,536, and what is kept is scaled by just that, so the mean holds.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return `inputs`, of any shape, with some set to 0 and the rest scaled in training."""
        if not training or self.rate == 0:
            return inputs
        dropped = min(round(self.rate * DRAWS), DRAWS - 1)
        count = tf.size(inputs)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        # Words of 64 bits, four draws each, take the generator half as long as any smaller ones.
        words = tf.random.stateless_uniform([(count + 3) // 4], seed, None, None, tf.int64)
        draws = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:count]
        kept = tf.reshape(draws >= tf.constant(dropped, tf.uint16), tf.shape(inputs))
        return tf.where(kept, inputs * (DRAWS / (DRAWS - dropped)), 0)


class QuickL2(keras.regularizers.L2):
    """The same penalty in one pass over the weights, and its gradient in one more, not five."""

    def __call__(self, x: keras.Variable) -> tf.Tensor:
        """Return `l2` times the sum of the squares of `x`, of any shape."""
        return 2 * self.l2 * tf.nn.l2_loss(x)  # which is half the sum


def build_head(head: Head, *, quick: bool = False) -> keras.Model:
    """Build the classifier: (Dropout, Dense, ReLU) for each of `head.units`, then a softmax.

    The notebooks': Dropout(0.7), Dense(128, L2 0.01 on kernel and bias), ReLU, Dense(10). Initial
    weights and dropout draw from Keras' global generator: seed it first.

    Args:
        head: its layers' sizes, dropout and penalty.
        quick: with `QuickDropout` and `QuickL2`: worth it where the head alone is trained, whose
            steps are short.

    Returns:
        A model from features (n, 2048) float32 to probabilities (n, 10) float32.

    """
    dropout = QuickDropout if quick else keras.layers.Dropout
    penalty = (QuickL2 if quick else keras.regularizers.L2)(head.l2)
    layers: list[keras.layers.Layer] = [keras.Input((FEATURES,), name="features")]
    for units in head.units:
        layers += [
            dropout(head.dropout),
            keras.layers.Dense(
                units,
                activation="relu",
                kernel_regularizer=penalty,
                bias_regularizer=penalty,
            ),
        ]
    layers.append(
        keras.layers.Dense(CLASSES, activation="softmax", dtype="float32", name="probabilities")
    )
    return keras.Sequential(layers, name="head")
