from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from thaw.config.fields import BACKBONE_LAYERS, BLOCKS
from thaw.config.params import Head, Params
from thaw.network import backbone, faster, weights
from thaw.network.heads import build_head


@pytest.fixture(scope="module")
def base() -> keras.Model:
    keras.utils.set_random_seed(0)
    return weights.resnet50(32, top=False)


@pytest.fixture(autouse=True)
def thawed(base: keras.Model) -> Iterator[None]:
    yield
    backbone.freeze_first(base, 0)


def test_the_backbone_has_175_layers_below_its_pooling(base: keras.Model) -> None:
    assert len(base.layers) == BACKBONE_LAYERS + 1
    assert base.layers[-1].name == "avg_pool"


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (10, "conv2_block1_1_relu"),
        (20, "conv2_block2_1_conv"),
        (60, "conv3_block2_add"),
        (175, "conv5_block3_out"),
    ],
)
def test_a_count_means_the_first_layers(base: keras.Model, count: int, last: str) -> None:
    backbone.freeze_first(base, backbone.freeze_count(base, count))
    frozen = [layer.name for layer in base.layers if not layer.trainable]
    assert len(frozen) == count
    assert frozen[-1] == last


@pytest.mark.parametrize(
    ("block", "last"),
    [
        ("conv1", "conv1_relu"),
        ("conv2", "conv2_block3_out"),
        ("conv4", "conv4_block6_out"),
        ("conv5", "conv5_block3_out"),
        ("conv3_block2", "conv3_block2_out"),
    ],
)
def test_a_block_means_everything_through_its_end(base: keras.Model, block: str, last: str) -> None:
    assert base.layers[backbone.freeze_count(base, block) - 1].name == last


def test_every_block_that_params_allows_exists(base: keras.Model) -> None:
    counts = [backbone.freeze_count(base, block) for block in BLOCKS]
    assert all(0 < count <= BACKBONE_LAYERS for count in counts)


@pytest.mark.parametrize("value_range", ["0-255", "0-1"])
def test_preprocessing_is_keras_own(value_range: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    given = images.astype("float32") / (255 if value_range == "0-1" else 1)
    expected = keras.applications.resnet.preprocess_input(given.copy())
    model = backbone.image_model(keras.layers.Identity(), 32, value_range)
    np.testing.assert_array_equal(model.predict_on_batch(images), expected)


def test_preprocessing_of_one_pixel_by_hand() -> None:
    red = np.array([[[[200, 100, 50]]]], np.uint8)
    seen = keras.ops.convert_to_numpy(backbone.preprocess(red, "0-255"))
    expected = [50 - 103.939, 100 - 116.779, 200 - 123.68]
    np.testing.assert_allclose(seen[0, 0, 0], expected, atol=1e-4)


def test_the_notebooks_model_has_the_notebooks_parameters(base: keras.Model) -> None:
    head = build_head(Head(units=(128,), dropout=0.7, l2=0.01), 10, seed=0)
    model = backbone.image_model(base, 32, "0-255", head)
    trainable = sum(np.prod(weight.shape) for weight in model.trainable_weights)
    assert model.count_params() == 23_851_274
    assert trainable == 23_798_154
    assert model.count_params() - trainable == 53_120


def fitted(model: keras.Model) -> keras.Model:
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(images, np.arange(8), batch_size=4, verbose=0)
    return model


@pytest.mark.parametrize("frozen_batch_norm", ["inference", "training"])
def test_frozen_weights_are_the_same_bits_after_fit(
    base: keras.Model, params: Params, frozen_batch_norm: str
) -> None:
    count = backbone.freeze_count(base, "conv3")
    backbone.freeze_first(base, count)
    net = backbone.with_batch_statistics(base) if frozen_batch_norm == "training" else base
    before = [layer.get_weights() for layer in net.layers]
    fitted(backbone.image_model(net, 32, "0-255", build_head(params.head, 10, seed=0)))
    changed = [
        any(not np.array_equal(a, b) for a, b in zip(old, layer.get_weights(), strict=True))
        for layer, old in zip(net.layers, before, strict=True)
    ]
    weighted = [bool(old) for old in before]
    assert not any(changed[:count])
    assert changed[count:] == weighted[count:]


def test_batch_statistics_by_hand() -> None:
    layer = backbone.BatchNormalization(epsilon=0.0)
    layer.build((None, 2))
    layer.set_weights([np.array(w, "float32") for w in ([2, 1], [1, 0], [10, 20], [4, 25])])
    layer.trainable = False
    inputs = np.array([[1.0, 0.0], [3.0, 8.0]], "float32")
    # In training: the batch's means are 2 and 4, its deviations 1 and 4.
    np.testing.assert_allclose(layer(inputs, training=True), [[-1, -1], [3, 1]], atol=1e-5)
    # In inference: the stored means 10 and 20, deviations 2 and 5.
    np.testing.assert_allclose(layer(inputs, training=False), [[-8, -4], [-6, -2.4]], atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [10, 20])


def test_only_training_on_frozen_layers_differs_from_keras(base: keras.Model) -> None:
    backbone.freeze_first(base, BACKBONE_LAYERS)
    copy = backbone.with_batch_statistics(base)
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in base.layers]
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(
        copy(images, training=False), base(images, training=False), rtol=1e-3
    )
    stored = keras.ops.convert_to_numpy(base(images, training=True))
    batch = keras.ops.convert_to_numpy(copy(images, training=True))
    np.testing.assert_allclose(stored, base(images, training=False), rtol=1e-5)
    assert np.abs(batch - stored).max() > 0.1


def test_momentum_reaches_every_batch_normalisation(base: keras.Model) -> None:
    backbone.set_batch_norm_momentum(base, 0.5)
    layers = [x for x in base.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert len(layers) == 53
    assert {layer.momentum for layer in layers} == {0.5}
    copy = backbone.with_batch_statistics(base)
    assert copy.get_layer("conv1_bn").momentum == 0.5


@pytest.mark.parametrize("side", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "strides"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_a_matrix_convolution_is_a_convolution(side: int, kernel: int, strides: int) -> None:
    """Outputs and all gradients, to rounding."""
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=(4, side, side, 5)).astype(np.float32))
    plain = keras.layers.Conv2D(6, kernel, strides, padding="same", bias_initializer="normal")
    matrix = faster.Conv2D.from_config(plain.get_config())
    results = []
    for layer in (plain, matrix):
        layer.build(images.shape)
        layer.set_weights(plain.get_weights())
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = layer(images)
            loss = tf.reduce_sum(outputs * tf.cos(outputs))
        sources = [images, layer.kernel.value, layer.bias.value]
        results.append([outputs, *tape.gradient(loss, sources)])
    for one, other in zip(*results, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "option", [{"activation": "relu"}, {"groups": 2}, {"dilation_rate": 2}, {"use_bias": False}]
)
@pytest.mark.parametrize("kernel", [1, 3])
def test_what_a_matrix_product_would_leave_out_is_left_to_keras(
    kernel: int, option: dict[str, Any]
) -> None:
    images = np.random.default_rng(0).normal(size=(4, 2, 2, 4)).astype(np.float32)
    plain = keras.layers.Conv2D(6, kernel, padding="same", **option)
    expected = plain(images)
    layer = faster.Conv2D.from_config(plain.get_config())
    layer.build(images.shape)
    layer.set_weights(plain.get_weights())
    np.testing.assert_allclose(layer(images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 4), (5, 3, 2, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_in_one_operation_is_keras_own(
    shape: tuple[int, ...], training: bool
) -> None:
    """Outputs, all gradients and the moving statistics, to rounding."""
    random = np.random.default_rng(0)
    inputs = tf.constant(random.normal(2, 3, size=shape).astype(np.float32))
    plain = keras.layers.BatchNormalization(momentum=0.7, epsilon=1e-2)
    one = faster.BatchNormalization.from_config(plain.get_config())
    start = [random.uniform(1, 2, 4).astype(np.float32) for _ in range(4)]
    results = []
    for layer in (plain, one):
        layer.build(shape)
        layer.set_weights(start)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=training)
            loss = tf.reduce_sum(outputs * tf.cos(outputs))
        gradients = tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])
        results.append([outputs, *gradients, *layer.get_weights()])
    for expected, received in zip(*results, strict=True):
        assert expected.shape == received.shape
        np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)


def test_batch_normalisation_keeps_half_precision_exact_inside() -> None:
    """Mean and variance of values whose squares bfloat16 cannot tell apart."""
    layer = faster.BatchNormalization(dtype="mixed_bfloat16")
    rows = tf.cast(tf.constant([[255.0], [256.0], [255.0], [256.0]]), tf.bfloat16)
    layer.build(rows.shape)
    outputs = layer(rows, training=True)
    assert outputs.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(outputs, tf.float32)[:, 0], [-1, 1, -1, 1], atol=0.01)


def test_the_network_for_training_is_the_network() -> None:
    network = weights.resnet50(32, top=False)
    copy = backbone.for_training(network)
    images = np.random.default_rng(0).uniform(-100, 100, (4, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(copy(images), network(images), rtol=1e-3, atol=1e-4)
    assert [w.path for w in copy.weights] == [w.path for w in network.weights]
    kinds = {type(layer) for layer in copy.layers}
    assert {faster.Conv2D, faster.BatchNormalization} <= kinds
    assert not {keras.layers.Conv2D, keras.layers.BatchNormalization} & kinds


@pytest.mark.parametrize(
    ("freeze", "stage"),
    [(0, "none"), (1, "none"), (2, "conv1"), (10, "conv2"), (60, "conv3"), ("conv4", "conv4")],
)
def test_the_stage_that_frozen_layers_end_in(
    base: keras.Model, freeze: int | str, stage: str
) -> None:
    assert backbone.frozen_through(base, backbone.freeze_count(base, freeze)) == stage
