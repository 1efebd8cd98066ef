"""Drop-in replacements for classes of Keras', which exist only for speed on a CPU.

Each has the name of the class that it replaces and computes the same, to rounding. What an epoch
gains by each is in benchmarks/faster.md (`python -m benchmarks.faster`). A class that gains less
than 1.1x goes, unless it has another merit: `Conv2D` and `BatchNormalization` leave out what rounds
differently on AMD's and on Intel's processors.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

TINY_MAP = 2
"""Largest side of a map on which a 3x3 convolution is faster as one matrix product.

With images of 32 px, the maps of conv4 and conv5 are that small."""
MANY_ROWS = 16
"""Pixels of a map from which its rows are many beside the matrix, so that `_matmul` costs nothing.
"""


class Conv2D(keras.layers.Conv2D):
    """A convolution that is one matrix product where TensorFlow's own is slow on a CPU.

    TensorFlow's is slow with 1x1 kernels, and with 3x3 kernels on maps of up to `TINY_MAP` pixels a
    side, where most of the kernel lies on padding. The weights are the same, and so is the result,
    to rounding. The class has the same name as Keras' own because weight files name layers by
    their class.
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Convolve `inputs` (n, height, width, channels)."""
        if not self._is_plain():
            return super().call(inputs)
        _, height, width, channels = inputs.shape
        if self.kernel_size == (1, 1):
            pixels = inputs
            if self.strides != (1, 1):  # a slice copies, even if it takes everything
                pixels = inputs[:, :: self.strides[0], :: self.strides[1]]
            matrix = ops.reshape(self.kernel, (channels, self.filters))
            return self._product(pixels, matrix, channels, pixels.shape[1:3])
        if (self.kernel_size, self.strides, self.padding) == ((3, 3), (1, 1), "same") and max(
            height, width
        ) <= TINY_MAP:
            return self._product(
                inputs, self._dense(height, width), height * width * channels, (height, width)
            )
        return super().call(inputs)

    def _is_plain(self) -> bool:
        """Whether the layer has no groups, dilation or activation, and channels come last."""
        return (
            self.groups == 1
            and self.dilation_rate == (1, 1)
            and self.data_format == "channels_last"
            and self.activation is keras.activations.linear
        )

    def _product(
        self,
        inputs: keras.KerasTensor,
        matrix: keras.KerasTensor,
        values: int,
        map_shape: tuple[int, int],
    ) -> keras.KerasTensor:
        """Multiply rows of `values` numbers by `matrix`, and return the result as maps.

        Returns:
            (n, *map_shape, filters), with the bias added if the layer has one.

        """
        multiply = _matmul if math.prod(map_shape) >= MANY_ROWS else ops.matmul
        outputs = multiply(ops.reshape(inputs, (-1, values)), matrix)
        outputs = ops.reshape(outputs, (-1, *map_shape, self.filters))
        return outputs + self.bias if self.use_bias else outputs

    def _dense(self, height: int, width: int) -> keras.KerasTensor:
        """Return the matrix that maps all values of an input map to all values of the output map.

        Returns:
            (height * width * channels, height * width * filters). The pixel varies slowest in both.

        """
        pixels, channels = height * width, self.kernel.shape[2]
        kernel = ops.reshape(self.kernel, (9, channels * self.filters))
        # A product with zeros and ones selects the taps, because the gradient of slices of the
        # kernel would cost far more.
        blocks = ops.matmul(ops.cast(_taps(height, width), kernel.dtype), kernel)
        blocks = ops.reshape(blocks, (pixels, pixels, channels, self.filters))
        blocks = ops.transpose(blocks, (0, 2, 1, 3))
        return ops.reshape(blocks, (pixels * channels, pixels * self.filters))


@tf.custom_gradient
def _matmul(rows: tf.Tensor, matrix: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Multiply `rows` (n, k) by `matrix` (k, m), with the same gradient on every processor.

    TensorFlow would let oneDNN read the matrix transposed in the gradient. With many rows of 64
    values, as in conv2, the last digits of that product hang on the size of the caches.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The check of the shape keeps TensorFlow from merging the transposition and the product.
        transposed = tf.ensure_shape(tf.transpose(matrix), matrix.shape[::-1])
        return tf.matmul(upstream, transposed), tf.matmul(rows, upstream, transpose_a=True)

    return tf.matmul(rows, matrix), gradient


@lru_cache
def _taps(height: int, width: int) -> NDArray[np.float32]:
    """Return which of the 9 taps of a 3x3 kernel connects each pair of pixels, one-hot.

    Returns:
        (input pixels * output pixels, 9) float32. A row is all 0 if the kernel does not connect
        the two pixels.

    """
    rows, columns = np.divmod(np.arange(height * width), width)
    row = rows[:, np.newaxis] - rows + 1
    column = columns[:, np.newaxis] - columns + 1
    taps = np.where((abs(row - 1) <= 1) & (abs(column - 1) <= 1), 3 * row + column, -1)
    return (taps.reshape(-1, 1) == np.arange(9)).astype(np.float32)


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation in one operation of TensorFlow's where it uses the batch's statistics.

    Keras' own takes a dozen, and each passes over the maps. It also calls TensorFlow's `rsqrt`,
    whose last digits are AMD's or Intel's own, whatever instructions a processor is held to; roots
    and quotients have the same bits everywhere. The channels come last, and masks, renorm and
    layers without beta or gamma are not supported.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Normalise `inputs`, of any shape, over every axis except the last."""
        if training and self.trainable:
            outputs, mean, variance = self.by_batch(inputs)
            for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + new * (1 - self.momentum))
            return outputs
        variance = self.moving_variance + self.epsilon
        # TensorFlow would turn `gamma / sqrt(variance)` into a product with `rsqrt`.
        scale = self.gamma * ops.sqrt(variance) / variance
        outputs = ops.cast(inputs, "float32") * scale + (self.beta - self.moving_mean * scale)
        return ops.cast(outputs, self.compute_dtype)

    def by_batch(self, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Normalise `inputs` (.., channels) by their own statistics.

        Returns:
            The outputs, and the inputs' mean and variance, each (channels,) float32.

        """
        none = tf.constant([], tf.float32)
        rows = tf.reshape(inputs, (-1, 1, 1, inputs.shape[-1]))
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=rows,
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=none,
            variance=none,
            epsilon=self.epsilon,
            is_training=True,
        )
        # TensorFlow returns the unbiased variance, and Keras keeps the biased one.
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        return tf.reshape(outputs, tf.shape(inputs)), mean, variance * ((count - 1) / count)


DRAWS = 1 << 16
"""How many values a draw of 16 bits can have."""


class Dropout(keras.layers.Dropout):
    """Dropout that draws 16 random bits for each value instead of 32.

    Most of the time of dropout goes to drawing. The rate is rounded to a multiple of 1/65,536, and
    the values that are kept are scaled by the rounded rate, so the mean stays the same.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Return `inputs`, of any shape; in training, set some to 0 and scale the rest."""
        if not training or self.rate == 0:
            return inputs
        dropped = min(round(self.rate * DRAWS), DRAWS - 1)
        count = tf.size(inputs)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        # Each word of 64 bits gives four draws. Smaller words would take twice as long to draw.
        words = tf.random.stateless_uniform([(count + 3) // 4], seed, None, None, tf.int64)
        draws = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:count]
        kept = tf.reshape(draws >= tf.constant(dropped, tf.uint16), tf.shape(inputs))
        return tf.where(kept, inputs * (DRAWS / (DRAWS - dropped)), 0)


class Adam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) in one pass over the weights.

    Keras' own makes one pass for each of its dozen operations, and a CPU spends them waiting for
    memory. TensorFlow's kernel computes the same, to rounding. AMSGrad is not supported.
    """

    def apply(
        self,
        grads: Sequence[tf.Tensor],
        trainable_variables: Sequence[keras.Variable] | None = None,
    ) -> None:
        """Take a step; the powers are computed once here, and not once for each variable."""
        step = ops.cast(self.iterations + 1, "float32")  # Keras counts from 0, Adam from 1
        self._beta_1_power = ops.power(self.beta_1, step)
        self._beta_2_power = ops.power(self.beta_2, step)
        super().apply(grads, trainable_variables)

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: keras.KerasTensor
    ) -> None:
        """Update `variable` in place by its `gradient`, which has the same shape."""
        kind = variable.dtype
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.cast(self._beta_1_power, kind),
            beta2_power=ops.cast(self._beta_2_power, kind),
            lr=ops.cast(learning_rate, kind),
            beta1=ops.cast(self.beta_1, kind),
            beta2=ops.cast(self.beta_2, kind),
            epsilon=ops.cast(self.epsilon, kind),
            grad=gradient,
        )
