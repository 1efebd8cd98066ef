"""ResNet50 found in files of other layouts, and its answers compared."""

import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import ROOT

from tests.reliability.hostile import network as tiny_network
from thaw.config.load import load_params
from thaw.network import backbone, layouts, weights
from thaw.network.heads import build_head
from thaw.network.weights import TOP_LAYER, Layers
from thaw.support.errors import ThawError
from thaw.training.checkpoint import uncompiled

SIDE = 32


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(2)
    return weights.resnet50(SIDE, top=True)


@pytest.fixture(scope="module")
def headless(network: keras.Model) -> keras.Model:
    """The same layers without the top."""
    pooled = network.get_layer("avg_pool").output
    return keras.Model(network.input, pooled, name="resnet50")


def is_backbone_of(layers: Layers, network: keras.Model) -> bool:
    return TOP_LAYER not in layers and all(
        np.array_equal(a, b)
        for layer in network.layers[:-1]
        if layer.weights
        for a, b in zip(layers[layer.name], layer.get_weights(), strict=True)
    )


@pytest.mark.parametrize("name", [pytest.param("its.keras", marks=pytest.mark.slow), "its.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_network_within_a_model_is_found(
    tmp_path: Path, network: keras.Model, headless: keras.Model, name: str
) -> None:
    images = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(images, keras.layers.Dense(10)(headless(images)))
    model.save(tmp_path / name)
    assert is_backbone_of(layouts.read(tmp_path / name, network), network)


def test_a_model_that_thaw_trained_is_found(
    tmp_path: Path, network: keras.Model, headless: keras.Model
) -> None:
    path = tmp_path / "full.weights.h5"
    head = build_head(load_params(ROOT).head, 10, seed=0)
    base = backbone.for_training(headless)
    uncompiled(backbone.image_model(base, SIDE, "0-255", head)).save_weights(path)
    assert is_backbone_of(layouts.read(path, network), network)


@pytest.fixture(scope="module")
def tiny() -> keras.Model:
    return tiny_network()


def test_two_such_networks_are_named(tmp_path: Path, tiny: keras.Model) -> None:
    path = tmp_path / "two.weights.h5"
    images = keras.Input((8, 8, 3))
    keras.Model(images, [tiny_network()(images) for _ in range(2)]).save_weights(path)
    with pytest.raises(
        ThawError, match=r"several such networks: /layers/sequential_1, /layers/sequential"
    ):
        layouts.read(path, tiny)


def test_a_top_of_other_classes_is_left_out(tmp_path: Path, tiny: keras.Model) -> None:
    path = tmp_path / "other.weights.h5"
    pooled = tiny.layers[-2].output
    top = keras.layers.Dense(7, name="predictions")
    keras.Model(tiny.inputs, top(pooled)).save_weights(path)
    layers = layouts.read(path, tiny)
    assert TOP_LAYER not in layers
    np.testing.assert_array_equal(layers["convolution"][0], tiny.layers[0].get_weights()[0])


def test_an_archive_of_other_things_is_refused(tmp_path: Path, tiny: keras.Model) -> None:
    path = tmp_path / "some.keras"
    path.write_bytes(b"no archive")
    with pytest.raises(ThawError, match=r"some\.keras is not a file .*: File is not a zip file"):
        layouts.read(path, tiny)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(layouts.ARCHIVED_WEIGHTS, b"no HDF5")
    with pytest.raises(ThawError, match=r"some\.keras is not a file .*: .*signature not found"):
        layouts.read(path, tiny)


def network_of_2018() -> keras.Model:
    """ResNet50 as in keras-applications 1.0.5: names, order, strides, epsilon (Keras 2's 1e-3)."""
    layers = keras.layers

    def convolve(x: keras.KerasTensor, name: str, filters: int, **how: object) -> keras.KerasTensor:
        x = layers.Conv2D(filters, name=f"res{name}", **how)(x)
        return layers.BatchNormalization(name=f"bn{name}")(x)

    def block(x: keras.KerasTensor, name: str, filters: int, strides: int) -> keras.KerasTensor:
        shortcut = x
        first = name.endswith("a")
        y = convolve(x, f"{name}_branch2a", filters, kernel_size=1, strides=strides)
        y = layers.Activation("relu")(y)
        y = convolve(y, f"{name}_branch2b", filters, kernel_size=3, padding="same")
        y = layers.Activation("relu")(y)
        y = convolve(y, f"{name}_branch2c", 4 * filters, kernel_size=1)
        if first:
            shortcut = convolve(x, f"{name}_branch1", 4 * filters, kernel_size=1, strides=strides)
        return layers.Activation("relu")(layers.add([y, shortcut]))

    images = keras.Input((SIDE, SIDE, 3))
    x = layers.ZeroPadding2D(3, name="conv1_pad")(images)
    x = layers.Conv2D(64, 7, strides=2, name="conv1")(x)
    x = layers.Activation("relu")(layers.BatchNormalization(name="bn_conv1")(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, (filters, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], 2):
        for i in range(blocks):
            strides = 2 if i == 0 and stage > 2 else 1
            x = block(x, f"{stage}{'abcdef'[i]}", filters, strides)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(images, layers.Dense(1000, activation="softmax", name="fc1000")(x))


@pytest.fixture(scope="module")
def old() -> keras.Model:
    """That network, with statistics of which the epsilon is a good part."""
    model = network_of_2018()
    random = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            spread = [random.uniform(0.5, 1.5, shape), random.normal(0, 0.1, shape)]
            layer.set_weights(
                [*spread, random.normal(0, 0.1, shape), random.uniform(0.002, 0.02, shape)]
            )
    return model


def save_as_keras2(model: keras.Model, path: Path, without: str = "") -> None:
    """Write the layout of Keras 2's save_weights."""
    with h5py.File(path, "w") as file:
        names = [layer.name for layer in model.layers if layer.name != without]
        file.attrs["layer_names"] = [name.encode() for name in names]
        file.attrs["keras_version"] = b"2.2.4"
        for layer in model.layers:
            group = file.create_group(layer.name)
            weight_names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in weight_names]
            for name, values in zip(weight_names, layer.get_weights(), strict=True):
                group[name] = values


def test_a_network_of_2018_gives_the_same_answers(
    tmp_path: Path, network: keras.Model, old: keras.Model
) -> None:
    path = tmp_path / "old.h5"
    save_as_keras2(old, path)
    layers = layouts.read(path, network)
    weights.assign(network, layers, path)
    images = np.random.default_rng(4).normal(0, 60, (4, SIDE, SIDE, 3)).astype(np.float32)
    expected = old(images)
    np.testing.assert_allclose(network(images), expected, rtol=1e-3, atol=1e-6)
    change = np.float32(layouts.OLD_EPSILON - layouts.EPSILON)
    for name, arrays in layers.items():
        if name.endswith("_bn"):
            arrays[-1] -= change
    weights.assign(network, layers, path)
    assert not np.allclose(network(images), expected, rtol=1e-1, atol=1e-6)


def test_todays_epsilon_is_kerass(network: keras.Model) -> None:
    normalised = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in normalised} == {layouts.EPSILON}


def test_a_network_that_pooled_without_padding_is_refused_as_such(
    tmp_path: Path, network: keras.Model, old: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "older.h5"
    save_as_keras2(old, path, without="pool1_pad")
    with pytest.raises(ThawError, match=r"as Keras had it before August 2018 .*res2a_branch2a"):
        layouts.read(path, network)
    monkeypatch.setattr(layouts, "FIRST_PUBLISHED", {layouts.md5(path)})
    assert layouts.read(path, network)
