"""ResNet50 without its top: the input range, freezing, and how its layers train."""

from collections.abc import Mapping

import keras
from keras import ops

from thaw.config.fields import BACKBONE_LAYERS
from thaw.network import faster
from thaw.network.weights import resnet50

MEANS = {2: 103.939, 1: 116.779, 0: 123.68}
"""ImageNet's mean colour in 0..255, by channel of an RGB image, in the order of BGR."""


class BatchNormalization(faster.BatchNormalization):
    """Batch normalisation that uses the statistics of the batch in training, even when frozen.

    Keras 2.1.3 to 2.3.1 behaved this way (keras issue 9965): a frozen layer normalised with the
    moments of the batch in training and with its stored moments in inference, and it no longer
    updated the stored ones. Keras 3 uses the stored moments in both. The class has the same name
    as Keras' own because weight files name layers by their class.
    """

    def call(
        self,
        inputs: keras.KerasTensor,
        training: bool | None = None,
        mask: keras.KerasTensor | None = None,
    ) -> keras.KerasTensor:
        """Normalise `inputs`, of any shape, over every axis except the last."""
        if training and not self.trainable:
            return self.by_batch(inputs)[0]
        return super().call(inputs, training=training, mask=mask)


def for_training(network: keras.Model) -> keras.Model:
    """Return a copy of `network` that has the same weights and the faster layers."""
    return _copy(
        network,
        {
            keras.layers.Conv2D: faster.Conv2D,
            keras.layers.BatchNormalization: faster.BatchNormalization,
        },
    )


def _copy(network: keras.Model, kinds: Mapping[type, type[keras.layers.Layer]]) -> keras.Model:
    """Return a copy of `network` with the same weights and some layer classes replaced."""

    def replace(layer: keras.layers.Layer) -> keras.layers.Layer:
        # The exact type, not isinstance: a subclass may compute something else.
        kind = kinds.get(type(layer), type(layer))
        return kind.from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=replace)
    # clone_model copies the structure only.
    copy.set_weights(network.get_weights())
    return copy


def freeze_count(backbone: keras.Model, freeze: int | str) -> int:
    """Return how many of the first layers to freeze.

    `freeze` is either that number, or the name of a stage or block (conv4, conv4_block3) through
    whose last layer everything is frozen.
    """
    if isinstance(freeze, int):
        return freeze
    # The last layer of the block counts, whichever branch of the block it belongs to.
    names = [layer.name for layer in backbone.layers[:BACKBONE_LAYERS]]
    return 1 + max(i for i, name in enumerate(names) if name.startswith(f"{freeze}_"))


def frozen_through(backbone: keras.Model, count: int) -> str:
    """Return the stage in which the first `count` layers end: conv1 to conv5, or none."""
    stages = [layer.name for layer in backbone.layers[:count] if layer.name.startswith("conv")]
    return stages[-1].partition("_")[0] if stages else "none"


def freeze_first(backbone: keras.Model, count: int) -> None:
    """Freeze the layers before index `count` and make all others trainable."""
    for i, layer in enumerate(backbone.layers):
        layer.trainable = i >= count


def split_at(backbone: keras.Model, count: int) -> tuple[keras.Model, keras.Model]:
    """Cut the backbone in front of `layers[count]` into two models that share its layers.

    Returns:
        A model from the backbone's input to every tensor that crosses the cut, and a model from
        those tensors to the backbone's output. Two tensors cross a cut inside a residual block.

    """
    before = {id(layer.output): layer.output for layer in backbone.layers[:count]}
    taken = [
        tensor for layer in backbone.layers[count:] for tensor in keras.tree.flatten(layer.input)
    ]
    # A tensor may feed several layers. A dict drops the repeats and keeps the order.
    crossing = list({id(t): t for t in taken if id(t) in before}.values()) or [backbone.input]
    return (
        keras.Model(backbone.input, crossing, name="prefix"),
        keras.Model(crossing, backbone.output, name="suffix"),
    )


def set_batch_norm_momentum(backbone: keras.Model, momentum: float) -> None:
    """Set the share of the moving statistics (0 to 1) that each training step keeps."""
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def with_batch_statistics(backbone: keras.Model) -> keras.Model:
    """Return a copy in which frozen batch normalisation trains as it did in Keras 2.1.3 to 2.3.1.

    The copy has the same weights and the same frozen layers as `backbone`.
    """
    kinds = (keras.layers.BatchNormalization, faster.BatchNormalization)
    copy = _copy(backbone, dict.fromkeys(kinds, BatchNormalization))
    for layer, original in zip(copy.layers, backbone.layers, strict=True):
        layer.trainable = original.trainable
    return copy


def preprocess(images: keras.KerasTensor, value_range: str) -> keras.KerasTensor:
    """Turn RGB images in 0..255 into ResNet50's input: BGR minus ImageNet's mean colour.

    The `value_range` 0-1 repeats the notebooks' mistake: it scales the images to [0, 1] and then
    subtracts the means that belong to 0..255.

    Args:
        images: (n, size, size, 3), any dtype.
        value_range: 0-255 or 0-1.

    Returns:
        (n, size, size, 3) float32.

    """
    images = ops.cast(images, "float32")
    if value_range == "0-1":
        images = images / 255.0
    # The same bits as Keras' `preprocess_input`. That one adds a tensor that it makes outside of
    # the graph, and an ONNX file of such a graph does not run. A layer would add to weights files.
    return ops.stack([images[..., i] - mean for i, mean in MEANS.items()], axis=-1)


def image_model(
    network: keras.Model, size: int, value_range: str, head: keras.Model | None = None
) -> keras.Model:
    """Return a model from images (n, size, size, 3) uint8 to the output of `network`.

    With a `head`, the model goes on to the head's output.
    """
    inputs = keras.Input((size, size, 3), dtype="uint8", name="images")
    outputs = network(preprocess(inputs, value_range))
    return keras.Model(
        inputs, head(outputs) if head else outputs, name="classifier" if head else "features"
    )


def feature_model(size: int, value_range: str) -> tuple[keras.Model, keras.Model]:
    """Return an untrained backbone and the model from images to its features (n, 2048)."""
    backbone = resnet50(size, top=False)
    return backbone, image_model(backbone, size, value_range)
