"""Drop-in replacements for classes of Keras', which exist for speed on a CPU alone.

Each has the name of the class that it replaces and computes the same, to rounding. What each gains
is measured by `python -m benchmarks.faster`, which runs its stage with and without it side by side:

GAINS
"""

from functools import lru_cache

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

TINY_MAP = 2
"""Side up to which a 3x3 convolution is faster as one matrix product: conv4 and conv5 at 32 px."""


class Conv2D(keras.layers.Conv2D):
    """A convolution that trains as one matrix product where TensorFlow's own is slow on a CPU.

    That is with 1x1 kernels, and with 3x3 ones on maps of up to `TINY_MAP` pixels a side, where
    most of the kernel lies on padding. Same weights, same result to rounding. Named like Keras'
    own, since files of weights name layers by their class.
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """Convolve `inputs` (n, height, width, channels)."""
        if not self._is_plain():
            return super().call(inputs)
        _, height, width, channels = inputs.shape
        if self.kernel_size == (1, 1):
            pixels = inputs
            if self.strides != (1, 1):  # a slice of everything would be copied, too
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
        """Whether nothing but a convolution of whole, near pixels and a bias is asked for."""
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
        """Multiply groups of `values` by a matrix, and set the result out as maps."""
        outputs = ops.matmul(ops.reshape(inputs, (-1, values)), matrix)
        outputs = ops.reshape(outputs, (-1, *map_shape, self.filters))
        return outputs + self.bias if self.use_bias else outputs

    def _dense(self, height: int, width: int) -> keras.KerasTensor:
        """Return the matrix that takes all of a map to all of the next."""
        pixels, channels = height * width, self.kernel.shape[2]
        kernel = ops.reshape(self.kernel, (9, channels * self.filters))
        # A product with zeros and ones: slices of the kernel would cost far more going backward.
        blocks = ops.matmul(ops.cast(_taps(height, width), kernel.dtype), kernel)
        blocks = ops.reshape(blocks, (pixels, pixels, channels, self.filters))
        blocks = ops.transpose(blocks, (0, 2, 1, 3))
        return ops.reshape(blocks, (pixels * channels, pixels * self.filters))


@lru_cache
def _taps(height: int, width: int) -> NDArray[np.float32]:
    """Return which of a 3x3 kernel's 9 values leads from which pixel to which, as 0 and 1.

    Returns:
        (pixels from x pixels to, 9); no 1 where the kernel does not reach.

    """
    rows, columns = np.divmod(np.arange(height * width), width)
    row = rows[:, np.newaxis] - rows + 1
    column = columns[:, np.newaxis] - columns + 1
    taps = np.where((abs(row - 1) <= 1) & (abs(column - 1) <= 1), 3 * row + column, -1)
    return (taps.reshape(-1, 1) == np.arange(9)).astype(np.float32)


DRAWS = 1 << 16
"""Values that a draw of 16 bits may have."""


class Dropout(keras.layers.Dropout):
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


class L2(keras.regularizers.L2):
    """The same penalty in one pass over the weights, and its gradient in one more, not five."""

    def __call__(self, x: keras.Variable) -> tf.Tensor:
        """Return `l2` times the sum of the squares of `x`, of any shape."""
        return 2 * self.l2 * tf.nn.l2_loss(x)  # which is half the sum


class Adam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) in one pass over the weights.

    Keras' own makes a pass for each of its dozen operations, which a CPU spends waiting for memory.
    TensorFlow's kernel computes the same, to rounding. Neither weight decay nor AMSGrad: nothing
    here asks for them.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: keras.KerasTensor
    ) -> None:
        """Move `variable` against its `gradient`, of the same shape."""
        kind = variable.dtype
        beta_1, beta_2 = (ops.cast(beta, kind) for beta in (self.beta_1, self.beta_2))
        step = ops.cast(self.iterations + 1, kind)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.power(beta_1, step),
            beta2_power=ops.power(beta_2, step),
            lr=ops.cast(learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=ops.cast(self.epsilon, kind),
            grad=gradient,
        )
