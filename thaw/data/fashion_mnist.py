"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): its classes, and its files with their digests."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.support.errors import ThawError
from thaw.support.files import sha256
from thaw.support.places import check_input

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class RawFile:
    """The expected name, size in bytes and SHA-256 of one decompressed IDX file."""

    name: str
    size: int
    sha256: str


TRAIN_IMAGES = RawFile(
    "train-images-idx3-ubyte",
    47_040_016,
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
)
TRAIN_LABELS = RawFile(
    "train-labels-idx1-ubyte",
    60_008,
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
)
TEST_IMAGES = RawFile(
    "t10k-images-idx3-ubyte",
    7_840_016,
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
)
TEST_LABELS = RawFile(
    "t10k-labels-idx1-ubyte",
    10_008,
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)


@dataclass(frozen=True)
class GrayImages:
    """Gray images (n, 28, 28) uint8 and labels (n,) int64 of an original split."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def load(folder: Path) -> tuple[GrayImages, GrayImages]:
    """Return the 60,000 training and the 10,000 test images in `folder`.

    Raises:
        ThawError: a file is missing, or differs from the published one.

    """
    arrays = [read_idx(_verified(folder / file.name, file)) for file in FILES]
    train_images, train_labels, test_images, test_labels = arrays
    return (
        GrayImages(train_images, train_labels.astype(np.int64)),
        GrayImages(test_images, test_labels.astype(np.int64)),
    )


def _verified(path: Path, file: RawFile) -> Path:
    if not check_input(path).exists():
        raise ThawError(f"{path} is missing. Run `dvc repro download` to fetch it.")
    received = sha256(path)
    if received != file.sha256:
        raise ThawError(
            f"{path} is damaged: expected {file.size:,} bytes, SHA-256 {file.sha256}. Received: "
            f"{path.stat().st_size:,} bytes, SHA-256 {received}. Delete it and run "
            "`dvc repro --force download`."
        )
    return path


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    The format has two zero bytes, the type (8: unsigned byte), the number of dimensions, each
    dimension as a big-endian 32-bit integer, and the values in C order (LeCun's MNIST page).

    Returns:
        A read-only uint8 array with the shape from the header.

    Raises:
        ThawError: the file is not an IDX file of unsigned bytes, or it is longer or shorter than
            its header says.

    """
    content = check_input(path).read_bytes()
    if len(content) < 4 or content[:3] != b"\x00\x00\x08" or not 1 <= content[3] <= 4:
        raise ThawError(
            f"{path} is not an IDX file of unsigned bytes: it must begin with 00 00 08 and 01 to "
            f"04. Received: {content[:4].hex(' ') or 'an empty file'}"
        )
    edges = range(4, 5 + 4 * content[3], 4)
    shape = tuple(int.from_bytes(content[start:end], "big") for start, end in pairwise(edges))
    # dtype=object multiplies Python integers: a damaged header could overflow int64.
    expected = edges[-1] + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise ThawError(
            f"{path} is truncated or too long: its header {shape} asks for {expected:,} bytes. "
            f"Received: {len(content):,} bytes"
        )
    return np.frombuffer(content, np.uint8, offset=edges[-1]).reshape(shape)
