import hashlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import Mirror as Server
from keras.src.applications import resnet as keras_resnet
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from thaw import ThawError, bundled, sources, weights


def equal(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return weights.resnet50(32, top=True)


@pytest.fixture(scope="module")
def legacy_file(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in the layout that Keras publishes ResNet50 in."""
    path = tmp_path_factory.mktemp("legacy") / "resnet50.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return path


def test_parameters_with_and_without_top() -> None:
    assert weights.resnet50(32, top=True).count_params() == 25_636_712
    assert weights.resnet50(32, top=False).count_params() == 23_587_712


def test_a_legacy_file_without_top_is_taken_as_such(tmp_path: Path) -> None:
    network = weights.resnet50(32, top=False)
    with h5py.File(tmp_path / "notop.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    model, source = sources.obtain("notop.h5", tmp_path)
    assert not source.top
    assert equal(model, network)


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("layout", ["keras3", "legacy"])
def test_a_file_of_either_layout_gives_the_same_weights(
    network: keras.Model, legacy_file: Path, tmp_path: Path, layout: str, top: bool
) -> None:
    path = legacy_file
    if layout == "keras3":
        path = tmp_path / "resnet50.weights.h5"
        network.save_weights(path)
    model, source = sources.obtain(str(path), Path())
    assert source.top
    assert source.name == f"file {hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    assert equal(model, network)
    weights.save(tmp_path / "saved", model, source)
    loaded = weights.resnet50(32, top=top)
    assert weights.load(tmp_path / "saved", loaded) == source
    for layer in filter(lambda layer: layer.weights, loaded.layers):
        for a, b in zip(layer.weights, network.get_layer(layer.name).weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_file_without_top_is_taken_as_such(tmp_path: Path) -> None:
    path = tmp_path / "notop.weights.h5"
    weights.resnet50(32, top=False).save_weights(path)
    model, source = sources.obtain(path.name, tmp_path)
    assert not source.top
    assert model.output_shape == (None, 2048)


def test_the_bundled_weights_fit_the_network_and_name_themselves() -> None:
    model, source = sources.obtain("bundled", Path())
    assert source == weights.Source(f"bundled {bundled.digest()}", top=True)
    layers = bundled.read()
    for layer in filter(lambda layer: layer.weights, model.layers):
        for weight, packed in zip(layer.get_weights(), layers[layer.name], strict=True):
            np.testing.assert_array_equal(weight, packed)


def test_random_weights_follow_the_seed() -> None:
    models = []
    for seed in (0, 0, 1):
        keras.utils.set_random_seed(seed)
        models.append(sources.obtain("random", Path())[0])
    assert equal(models[0], models[1])
    assert not equal(models[0], models[2])


def test_a_file_of_another_network_is_refused_by_layer(tmp_path: Path) -> None:
    path = tmp_path / "other.weights.h5"
    keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3)).save_weights(path)
    with pytest.raises(ThawError, match=r"layer conv1_conv must have the shapes \[\(7, 7, 3, 64\)"):
        sources.obtain(path.name, tmp_path)


def test_a_wrong_shape_deep_inside_is_named(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "broken.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        del file["layers/conv2d_5/vars/1"]
        file["layers/conv2d_5/vars/1"] = np.zeros(7, np.float32)
    with pytest.raises(ThawError, match=r"layer conv2_block2_1_conv .*Received: .*\(7,\)"):
        sources.obtain(path.name, tmp_path)


def test_a_legacy_file_with_layers_too_many_is_refused(legacy_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "more.h5"
    path.write_bytes(legacy_file.read_bytes())
    with h5py.File(path, "r+") as file:
        names = list(file.attrs["layer_names"])
        file.attrs["layer_names"] = [*names, names[-1]]
    with pytest.raises(ThawError, match=r"expected 107 layers .* its top; 108 are there"):
        sources.obtain(path.name, tmp_path)


def test_values_that_are_not_finite_are_refused(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "nan.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        file["layers/conv2d/vars/1"][3] = np.nan
    with pytest.raises(ThawError, match=r"layer conv1_conv holds values that are not finite"):
        sources.obtain(path.name, tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"no HDF5"])
def test_what_is_no_weights_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.weights.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ThawError, match=r"x\.weights\.h5 is (no file|not a file of Keras weights)"):
        sources.obtain(path.name, tmp_path)


def test_hdf5_without_weights_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["something"] = [1, 2]
    with pytest.raises(ThawError, match=r"expected a group `layers`"):
        sources.obtain("x.h5", tmp_path)


@pytest.fixture
def keras_mirror(
    mirror: Server, legacy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Server:
    """Keras' own loader, pointed at the local server, with an empty cache and short waits."""
    content = legacy_file.read_bytes()
    mirror.files = {sources._published_name(): content}
    monkeypatch.setattr(keras_resnet, "BASE_WEIGHTS_PATH", mirror.url)
    digests = {"resnet50": (hashlib.md5(content).hexdigest(), "")}
    monkeypatch.setattr(keras_resnet, "WEIGHTS_HASHES", digests)
    (tmp_path / "keras").mkdir()  # Keras turns to /tmp where its home is not writable
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "keras_home", lambda: str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "STALL_TIMEOUT", 3.0)
    monkeypatch.setattr(sources._load_published.retry, "wait", lambda state: 0.0)
    return mirror


def test_imagenet_is_fetched_by_keras_once_and_then_found_offline(
    keras_mirror: Server, network: keras.Model
) -> None:
    model, source = sources.obtain("imagenet", Path())
    assert source == weights.Source("imagenet", top=True)
    assert equal(model, network)
    assert len(keras_mirror.asked) == 1
    keras_mirror.behaviour = "missing"
    assert equal(sources.obtain("imagenet", Path())[0], network)
    assert len(keras_mirror.asked) == 1


def test_a_passing_fault_is_tried_again(keras_mirror: Server, network: keras.Model) -> None:
    keras_mirror.behaviour = "flaky"
    assert equal(sources.obtain("imagenet", Path())[0], network)
    assert len(keras_mirror.asked) == 2


@pytest.mark.parametrize(
    ("behaviour", "reason", "tries"),
    [
        ("missing", "404", 1),
        ("cut", "retrieval incomplete", sources.TRIES),
        ("stall", "timed out", sources.TRIES),
        ("wrong", "does not match", 1),
    ],
)
def test_imagenet_that_cannot_be_had_ends_with_what_to_do(
    keras_mirror: Server, tmp_path: Path, behaviour: str, reason: str, tries: int
) -> None:
    keras_mirror.behaviour = "serve" if behaviour == "wrong" else behaviour
    if behaviour == "wrong":
        keras_mirror.files = {sources._published_name(): b"something else"}
    with pytest.raises(ThawError) as caught:
        sources.obtain("imagenet", Path())
    message = str(caught.value)
    assert reason in message
    assert len(keras_mirror.asked) == tries
    assert keras_mirror.url + sources._published_name() in message
    assert str(tmp_path / "keras" / "models" / sources._published_name()) in message
    assert "weights=bundled" in message
