"""ResNet50 without its top: input range, freezing, and how its layers compute in training."""

from collections.abc import Mapping

import keras
from keras import ops

from thaw.config.fields import BACKBONE_LAYERS
from thaw.network import faster
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


def for_training(network: keras.Model) -> keras.Model:
    """Return a copy of `network`, weights included, with the faster convolutions."""
    return _copy(network, {keras.layers.Conv2D: faster.Conv2D})


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


def frozen_through(backbone: keras.Model, count: int) -> str:
    """Return the stage of ResNet50 in which its first `count` layers end: conv1 .., or none."""
    stages = [layer.name for layer in backbone.layers[:count] if layer.name.startswith("conv")]
    return stages[-1].partition("_")[0] if stages else "none"


def freeze_first(backbone: keras.Model, count: int) -> None:
    """Freeze `layers[:count]` and thaw the rest."""
    for i, layer in enumerate(backbone.layers):
        layer.trainable = i >= count


def split_at(backbone: keras.Model, count: int) -> tuple[keras.Model, keras.Model]:
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
