from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from conftest import store_small

from thaw.config.params import Params
from thaw.data.dataset import read_dataset
from thaw.data.image_store import open_images
from thaw.network import backbone, features
from thaw.network.heads import build_head
from thaw.network.inference import predict
from thaw.support.errors import ThawError


@pytest.fixture
def folder(tmp_path: Path, params: Params) -> Path:
    store_small(tmp_path, params)
    return tmp_path


def test_a_head_on_cached_features_says_what_the_whole_frozen_model_says(
    folder: Path, params: Params
) -> None:
    keras.utils.set_random_seed(0)
    base, extractor = backbone.feature_model(32, "0-255")
    base.trainable = False
    splits = read_dataset(folder).splits
    images = {name: open_images(folder, 32, name) for name in splits}
    features.write_features(folder / "features.h5", extractor, images, "keras")
    head = build_head(params.head, 10, seed=0)
    whole = backbone.image_model(base, 32, "0-255", head)
    for name, some in images.items():
        cached, labels = features.load_features(folder / "features.h5", name, 10)
        assert cached.shape == (len(some), 2048)
        assert cached.dtype == np.float32
        np.testing.assert_array_equal(labels, some.labels)
        expected = predict(whole, some)
        np.testing.assert_allclose(head.predict_on_batch(cached), expected, atol=1e-4)


def test_features_that_are_not_finite_or_constant_are_refused() -> None:
    good = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
    passed = list(features.checked([good, good[:1]]))
    np.testing.assert_array_equal(np.concatenate(passed), np.concatenate([good, good[:1]]))
    list(features.checked([good[:1]]))
    with pytest.raises(ThawError, match="not finite"):
        list(features.checked([good, np.where(good > 0, np.nan, good)]))
    for size in (3, 1):  # batches of one image are held against each other
        with pytest.raises(ThawError, match="every image the same"):
            list(features.checked([np.zeros((size, 4), np.float32)] * 2))


def test_a_refused_extraction_leaves_the_old_file(folder: Path) -> None:
    (folder / "features.h5").write_bytes(b"old")
    constant = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Flatten(),
            keras.layers.Dense(4, kernel_initializer="zeros"),
        ]
    )
    parts = {"train": open_images(folder, 32, "train")}
    with pytest.raises(ThawError, match="every image the same"):
        features.write_features(folder / "features.h5", constant, parts, "keras")
    assert (folder / "features.h5").read_bytes() == b"old"
    assert sorted(path.name for path in folder.iterdir()) == [
        "dataset.json",
        "features.h5",
        "rgb32.h5",
    ]


@pytest.mark.parametrize("content", [None, b"no HDF5"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "features.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ThawError, match=r"features\.h5 cannot be read.*dvc repro"):
        features.load_features(path, "train", 10)


def test_a_file_without_the_part_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file.create_group("test")
    with pytest.raises(ThawError, match=r"features\.h5 cannot be read"):
        features.load_features(tmp_path / "features.h5", "train", 10)


@pytest.mark.parametrize(
    ("labels", "said"),
    [([0, 10], "labels must be 0 to 9"), ([1], "a label for each image. Received: 2 images, 1")],
)
def test_features_whose_labels_cannot_be_right_are_refused(
    tmp_path: Path, labels: list[int], said: str
) -> None:
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["test/features"] = np.zeros((2, 4), np.float32)
        file["test/labels"] = np.array(labels)
    with pytest.raises(ThawError, match=said):
        features.load_features(tmp_path / "features.h5", "test", 10)
