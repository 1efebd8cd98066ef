import hashlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from saved_weights import equal, write_legacy

from thaw.network import bundled, sources, weights
from thaw.support.errors import ThawError


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return weights.resnet50(32, top=True)


@pytest.fixture(scope="module")
def legacy_file(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_legacy(tmp_path_factory.mktemp("legacy") / "resnet50.h5", network)


@pytest.fixture(scope="module")
def topless() -> keras.Model:
    return weights.resnet50(32, top=False)


def test_a_legacy_file_without_top_is_taken_as_such(topless: keras.Model, tmp_path: Path) -> None:
    write_legacy(tmp_path / "notop.h5", topless)
    model, source = sources.obtain("notop.h5", tmp_path, seed=0)
    assert not source.top
    assert model.output_shape == (None, 2048)
    assert equal(model, topless)


@pytest.mark.parametrize("layout", ["keras3", "legacy"])
def test_a_file_of_either_layout_gives_the_same_weights(
    network: keras.Model, topless: keras.Model, legacy_file: Path, tmp_path: Path, layout: str
) -> None:
    path = legacy_file
    if layout == "keras3":
        path = tmp_path / "resnet50.weights.h5"
        network.save_weights(path)
    model, source = sources.obtain(str(path), Path(), seed=0)
    assert source.top
    assert source.name == f"file {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    assert equal(model, network)
    weights.save(tmp_path / "saved", model, source)
    part = keras.models.clone_model(topless)
    for loaded in (model, part):
        loaded.set_weights([np.zeros_like(weight) for weight in loaded.get_weights()])
        assert weights.load(tmp_path / "saved", loaded) == source
    assert equal(model, network)
    for layer in filter(lambda layer: layer.weights, part.layers):
        for a, b in zip(layer.weights, network.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_file_without_top_is_taken_as_such(tmp_path: Path) -> None:
    path = tmp_path / "notop.weights.h5"
    weights.resnet50(32, top=False).save_weights(path)
    model, source = sources.obtain(path.name, tmp_path, seed=0)
    assert not source.top
    assert model.output_shape == (None, 2048)


def test_the_bundled_weights_fit_the_network_and_name_themselves() -> None:
    model, source = sources.obtain("bundled", Path(), seed=0)
    assert source == weights.Source(f"bundled {bundled.digest()}", top=True)
    layers = bundled.read()
    for layer in filter(lambda layer: layer.weights, model.layers):
        for weight, packed in zip(layer.get_weights(), layers[layer.name], strict=True):
            np.testing.assert_array_equal(weight, packed)


def test_random_weights_follow_the_seed() -> None:
    models = []
    for seed in (0, 0, 1):
        keras.random.uniform((3,))  # what was drawn before does not matter
        models.append(sources.obtain("random", Path(), seed=seed)[0])
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_a_file_of_another_network_is_refused_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3)).save_weights(path)
    with pytest.raises(ThawError, match=r"layer conv1_conv must have the shapes \[\(7, 7, 3, 64\)"):
        sources.obtain(path.name, tmp_path, seed=0)


def test_a_wrong_shape_deep_inside_is_named(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "broken.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d_5/vars/1"]
        file["layers/conv2d_5/vars/1"] = np.zeros(7, np.float32)
    with pytest.raises(ThawError, match=r"layer conv2_block2_1_conv .*Received: .*\(7,\)"):
        sources.obtain(path.name, tmp_path, seed=0)


def test_a_legacy_file_of_other_names_and_more_layers_is_refused(
    legacy_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "more.h5"
    path.write_bytes(legacy_file.read_bytes())
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        for name in ("first", "another"):
            file.copy("conv1_conv", name)
        file.attrs["layer_names"] = ["first", "another", *names[3:]]
    with pytest.raises(ThawError, match=r"layer conv1_conv .* Received: no such layer"):
        sources.obtain(path.name, tmp_path, seed=0)


def test_values_that_are_not_finite_are_refused(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "nan.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/1"][3] = np.nan
    with pytest.raises(ThawError, match=r"layer conv1_conv holds values that are not finite"):
        sources.obtain(path.name, tmp_path, seed=0)


@pytest.mark.parametrize("content", [None, b"", b"no HDF5"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ThawError, match=r"x\.weights\.h5'? is (no file|not a file of)"):
        sources.obtain(path.name, tmp_path, seed=0)


def test_hdf5_without_weights_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["something"] = [1, 2]
    with pytest.raises(ThawError, match=r"expected a group `layers`"):
        sources.obtain("x.h5", tmp_path, seed=0)


@pytest.mark.parametrize(
    "name", ["x" * 300 + ".h5", "\ud800.h5", "a\0b.h5", "\x1b[31m.keras"], ids=ascii
)
def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ThawError, match=r"weights: '.*' is no file") as caught:
        sources.obtain(name, tmp_path, seed=0)
    assert str(caught.value).isprintable()
