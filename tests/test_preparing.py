"""From a folder of pictures to data/images: what is stored, and that it comes back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import tree
from PIL import Image

from thaw.config.params import Samples
from thaw.data import picture_store
from thaw.data.dataset import PARTS, Dataset, read_dataset
from thaw.data.decoding import decode, resize
from thaw.data.image_store import open_images
from thaw.data.preparing import FILES_CSV, prepare_pictures
from thaw.support.errors import ThawError
from thaw.support.tables import read_csv

SAMPLES = Samples(seed=0, train=0, validation=2_000, test=0)
COLOURS = {"blau": (0, 0, 255), "grün": (0, 255, 0), "weiß und rot": (255, 0, 0)}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Dataset]:
    """A project with 30 pictures of 3 classes, of any form, in one colour each with some noise."""
    root = tmp_path_factory.mktemp("project")
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / "meine Bilder" / name).mkdir(parents=True)
        for i in range(10):
            height, width = random.integers(20, 300, 2)
            noise = random.integers(0, 30, (height, width, 3), dtype=np.uint8)
            image = Image.fromarray(np.abs(np.array(colour, np.uint8) - noise))
            image.save(root / "meine Bilder" / name / f"{i}.{'png' if i % 2 else 'webp'}")
    return root, prepare_pictures(root, "meine Bilder", root / "data/images", SAMPLES)


def test_a_dataset_is_described(prepared: tuple[Path, Dataset]) -> None:
    root, dataset = prepared
    assert read_dataset(root / "data/images") == dataset
    assert dataset.classes == ("blau", "grün", "weiß und rot")
    assert (dataset.name, dataset.folder) == ("meine Bilder", "meine Bilder")
    assert dataset.counts == {"train": 20, "validation": 4, "test": 6}
    assert dataset.splits == PARTS
    assert not dataset.gray


@pytest.mark.parametrize("size", [32, 64, 224])
def test_pictures_come_back_as_they_are_decoded(prepared: tuple[Path, Dataset], size: int) -> None:
    """In colour: one channel used to be kept, so that blue came out black."""
    root, dataset = prepared
    listed = read_csv(root / "data/images" / FILES_CSV)
    for part in PARTS:
        images = open_images(root / "data/images", size, part)
        rows = [row for row in listed if row["split"] == part]
        assert [int(row["position"]) for row in rows] == list(images.positions)
        assert [row["class"] for row in rows] == [dataset.classes[i] for i in images.labels]
        for i, row in enumerate(rows):
            pixels = decode(root / "meine Bilder" / row["file"])
            expected = resize(pixels[np.newaxis], size)
            np.testing.assert_array_equal(images.batch(np.array([i])), expected)
            dominant = np.array(COLOURS[row["class"]]).argmax()
            assert images.batch(np.array([i])).mean(axis=(0, 1, 2)).argmax() == dominant


def test_the_files_are_the_same_bytes_at_every_run(prepared: tuple[Path, Dataset]) -> None:
    root, _ = prepared
    prepare_pictures(root, "meine Bilder", root / "again", SAMPLES)
    assert tree(root / "again") == tree(root / "data/images")


def test_nothing_is_written_if_a_picture_cannot_be_read(prepared: tuple[Path, Dataset]) -> None:
    root, _ = prepared
    before = tree(root / "data/images")
    bad = root / "meine Bilder/blau/zz.png"
    bad.write_bytes(b"no picture")
    try:
        with pytest.raises(ThawError, match=r"blau/zz\.png"):
            prepare_pictures(root, "meine Bilder", root / "data/images", SAMPLES)
    finally:
        bad.unlink()
    assert tree(root / "data/images") == before


def test_many_pictures_are_decoded_instead_of_stored(
    prepared: tuple[Path, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They give the same pixels, and a picture that has changed since is named."""
    root, _ = prepared
    shutil.copytree(root / "meine Bilder", tmp_path / "meine Bilder")
    monkeypatch.setattr(picture_store, "MOST_STORED", 7)
    prepare_pictures(tmp_path, "meine Bilder", tmp_path / "data/images", SAMPLES)
    assert (tmp_path / "data/images/rgb224.h5").stat().st_size < 50_000
    for size in (32, 64, 224):
        for part in PARTS:
            stored = open_images(root / "data/images", size, part)
            decoded = open_images(tmp_path / "data/images", size, part)
            order = np.array([3, 0, 1])
            np.testing.assert_array_equal(decoded.batch(order), stored.batch(order))
            np.testing.assert_array_equal(decoded.labels, stored.labels)
    for path in (tmp_path / "meine Bilder/blau").iterdir():
        Image.new("RGB", (50, 50)).save(path, "PNG")
    images = open_images(tmp_path / "data/images", 224, "train")
    with pytest.raises(ThawError, match=r"blau/.* has changed since thaw first read it"):
        images.batch(slice(None))
