"""ResNet50 without its top: input range, freezing, and how its layers compute in training."""

from collections.abc import Mapping
from functools import lru_cache

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from thaw.config.fields import BACKBONE_LAYERS
from thaw.network.weights import resnet50


class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation that, when frozen, still trains on the statistics of the batch.

    So did Keras 2.1.3 to 2.3.1 (keras issue 9965): in training a frozen layer normalised with the
    moments of the batch, in inference with its stored ones, which it no longer updated. Keras 3
    uses the stored ones in both. Named like Keras' own, since files of weights name layers by their
    class.
    """

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool | None = None,
        mask: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Normalise `inputs` over all axes but the channels'."""
        if not training or self.trainable:
            return super().call(inputs, training=training, mask=mask)
        axis = self.axis % len(inputs.shape)
        reduced = [i for i in range(len(inputs.shape)) if i != axis]
        exact = ops.cast(inputs, "float32")  # as Keras does: half precision overflows in moments
        mean, variance = ops.moments(exact, axes=reduced)
        outputs = ops.batch_normalization(
            exact, mean, variance, axis, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )
        return ops.cast(outputs, self.compute_dtype)


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


def for_training(network: keras.Model) -> keras.Model:
    """Return a copy of `network`, weights included, with this module's convolutions."""
    return _copy(network, {keras.layers.Conv2D: Conv2D})


def _copy(network: keras.Model, kinds: Mapping[type, type[keras.layers.Layer]]) -> keras.Model:
    """Return `network` with its weights, the layers of some kinds replaced by others."""

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = kinds.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=replace)
    copy.set_weights(network.get_weights())
    return copy


def freeze_count(backbone: keras.Model, freeze: int | str) -> int:
    """Return how many of the first layers `freeze` names: a count, or a block through its end."""
    if isinstance(freeze, int):
        return freeze
    names = [layer.name for layer in backbone.layers[:BACKBONE_LAYERS]]
    return 1 + max(i for i, name in enumerate(names) if name.startswith(f"{freeze}_"))


def freeze_first(backbone: keras.Model, count: int) -> None:
    """Freeze `layers[:count]` and thaw the rest."""
    for i, layer in enumerate(backbone.layers):
        layer.trainable = i >= count


def split(backbone: keras.Model, count: int) -> tuple[keras.Model, keras.Model]:
    """Cut in front of `layers[count]`; both parts share the backbone's layers.

    Returns:
        The first from the backbone's input to every tensor that crosses the cut (two inside a
        residual block), and the second from those to its output.

    """
    before = {id(layer.output): layer.output for layer in backbone.layers[:count]}
    taken = [
        tensor for layer in backbone.layers[count:] for tensor in keras.tree.flatten(layer.input)
    ]
    crossing = list({id(t): t for t in taken if id(t) in before}.values()) or [backbone.input]
    return (
        keras.Model(backbone.input, crossing, name="prefix"),
        keras.Model(crossing, backbone.output, name="suffix"),
    )


def set_batch_norm_momentum(backbone: keras.Model, momentum: float) -> None:
    """Set how much of the running statistics each training step keeps."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def with_batch_statistics(backbone: keras.Model) -> keras.Model:
    """Return a copy whose frozen batch normalisation trains as in Keras 2.1.3 to 2.3.1.

    The copy has the same weights, and each of its layers is frozen where the original's is.
    """
    copy = _copy(backbone, {keras.layers.BatchNormalization: BatchNormalization})
    for layer, original in zip(copy.layers, backbone.layers, strict=True):
        layer.trainable = original.trainable
    return copy


def preprocess(images: keras.KerasTensor, value_range: str) -> keras.KerasTensor:
    """Turn RGB images in 0..255 into ResNet50's input: BGR less ImageNet's mean colour.

    `value_range` unit repeats the notebooks' mistake: images scaled to [0, 1], from which the
    means, meant for 0..255, are subtracted all the same.

    Args:
        images: (n, size, size, 3), any dtype.
        value_range: byte or unit.

    Returns:
        (n, size, size, 3) float32.

    """
    images = ops.cast(images, "float32")
    if value_range == "0-1":
        images = images / 255.0
    return keras.applications.resnet.preprocess_input(images)


def image_model(
    network: keras.Model, size: int, value_range: str, head: keras.Model | None = None
) -> keras.Model:
    """Return the model from images (n, size, size, 3) uint8 to `network`'s output, or `head`'s."""
    inputs = keras.Input((size, size, 3), dtype="uint8", name="images")
    outputs = network(preprocess(inputs, value_range))
    return keras.Model(
        inputs, head(outputs) if head else outputs, name="classifier" if head else "features"
    )


def feature_model(size: int, value_range: str) -> tuple[keras.Model, keras.Model]:
    """Return an untrained backbone, and the model from images to its pooled features (n, 2048)."""
    backbone = resnet50(size, top=False)
    return backbone, image_model(backbone, size, value_range)
