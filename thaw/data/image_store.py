"""Images on disk: one HDF5 file for each size, which is read batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import zstandard
from joblib import Parallel, delayed
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from thaw.data.dataset import read_dataset
from thaw.data.decoding import resize
from thaw.data.picture_files import PictureFiles
from thaw.data.resizing import resize_gray, to_rgb
from thaw.data.splits import Split, stratified
from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_file, require_space
from thaw.support.hdf5 import DAMAGED_HDF5
from thaw.support.places import FOLDER, check_input, check_output

SMALL, LARGE = 32, 224
"""Sides of the two stored versions, pixels. Other sizes are computed from one of them."""
_STORED_RGB = np.dtype(("u1", (3,)))
_COMPRESSION = -2
"""zstd's level. It gives 1.4 GB for all 70,000 images at 224 px; -1 takes 3 % longer and saves 4 %.
HTJ2K needs 0.55 GB and JPEG-LS of one channel 0.45 GB, but each compresses three times slower."""
_CACHED_IMAGES = 16
"""Images that are resized together: at 224 px these fit in a core's cache."""
_IMAGES_OF_A_TASK = 256
"""Images in one task of a thread: enough to make the cost of scheduling small."""


def write_images(path: Path, splits: dict[str, Split], size: int) -> None:
    """Write every split at `size` pixels to one HDF5 file, completely or not at all.

    Each split is a group with `images` (n, size, size, 3) uint8, `labels` (n,) int64 and
    `positions` (n,) int64, which are positions in the original file. HDF5 compresses on one core,
    so this module compresses the chunks on all cores and writes them in order.

    Raises:
        ThawError: a link or something else is where the file or its folder goes.
        OSError: there is too little space on the disk.

    """
    check_output(path.parent, FOLDER)  # DVC owns the whole folder
    total = sum(map(len, splits.values()))
    require_space(path.parent, total * size**2 // 2)  # 0.39 bytes a pixel were measured
    with (
        atomic_file(path) as scratch,
        h5py.File(scratch, "w") as file,
        tqdm(desc=f"{size} px", total=total, unit="img", disable=None) as bar,
    ):
        for name, split in splits.items():
            group = file.create_group(name)
            group["labels"] = split.gray.labels[split.positions]
            group["positions"] = split.positions
            stored = create_images(group, len(split), size)
            for row, chunk in enumerate(_chunks(split, size)):
                stored.id.write_direct_chunk((row, 0, 0), chunk)
                bar.update()


def create_images(group: h5py.Group, count: int, size: int) -> h5py.Dataset:
    """Return a new dataset `images`, (count, size, size, 3) uint8, one image a chunk; 0 can grow.

    HDF5's shuffle filter on a 3-byte type separates the channels. In a gray image they are equal,
    so that zstd finds the repetition.
    """
    return group.create_dataset(
        "images",
        shape=(count, size, size),
        maxshape=(count or None, size, size),
        dtype=_STORED_RGB,
        chunks=(1, size, size),
        shuffle=True,
        **hdf5plugin.Zstd(clevel=_COMPRESSION),
    )


def _chunks(split: Split, size: int) -> Iterator[bytes]:
    """Yield the chunk that HDF5 stores for each image, in order."""
    tasks = (
        delayed(_compressed)(
            split.gray.images[split.positions[start : start + _IMAGES_OF_A_TASK]], size
        )
        for start in range(0, len(split), _IMAGES_OF_A_TASK)
    )
    with threadpool_limits(1):  # joblib's threads use all cores already
        for chunks in Parallel(n_jobs=-1, prefer="threads", return_as="generator")(tasks):
            yield from chunks


def _compressed(gray: NDArray[np.uint8], size: int) -> list[bytes]:
    """Return gray images (n, 28, 28) as RGB of `size` pixels, as HDF5's filters would store them.

    The shuffle filter stores the channels one after another, and here all three are equal.
    """
    compressor = zstandard.ZstdCompressor(level=_COMPRESSION)
    chunks = []
    for start in range(0, len(gray), _CACHED_IMAGES):
        small = resize_gray(gray[start : start + _CACHED_IMAGES], SMALL)
        resized = small if size == SMALL else resize_gray(small, size)
        chunks += [compressor.compress(np.concatenate([image] * 3).data) for image in resized]
    return chunks


@dataclass(frozen=True)
class Images:
    """The images of a split, or some of them, at one size; `batch` reads the pixels.

    Attributes:
        path: the file.
        stored: the pixels (N, side, side, 3) uint8 of the whole split, on disk or in memory, or the
            files to decode them from.
        rows: (n,) positions of the images in `stored`.
        labels: (n,) classes, from 0.
        positions: (n,) positions of the images in the original file, or in the list of pictures.
        size: side of the images that `batch` returns, in pixels.
        gray: whether the three channels are equal, as in Fashion-MNIST.

    """

    path: Path
    stored: h5py.Dataset | NDArray[np.uint8] | PictureFiles
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    size: int
    gray: bool

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, which: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Return the images at the indices `which`, (n, size, size, 3) uint8, in that order.

        Raises:
            ThawError: the file is damaged, or a picture's own file has changed.

        """
        rows = self.rows[which]
        if isinstance(self.stored, np.ndarray):
            pixels = self.stored[rows]
        elif isinstance(self.stored, PictureFiles):
            pixels = self.stored.decode(rows)
        else:
            pixels = self._read(self.stored, rows)
        if pixels.shape[1] == self.size:
            return pixels
        if self.gray:
            return to_rgb(resize_gray(pixels[..., 0], self.size))
        return resize(pixels, self.size)

    def _read(self, stored: h5py.Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read images one by one: h5py's fancy indexing is several times slower."""
        try:
            return np.stack([stored[row] for row in rows])
        except DAMAGED_HDF5 as error:
            raise ThawError(f"{self.path} cannot be read: {error}. {remedy()}") from error

    def first(self, count: int) -> "Images":
        """Return the first `count` images."""
        return self._only(np.arange(count))

    def sample(self, count: int, seed: int) -> "Images":
        """Return `count` of the images, stratified by class; 0 returns all.

        Raises:
            ThawError: there are fewer than `count` images.

        """
        which, _ = stratified(self.labels, count, seed)
        return self._only(which)

    def _only(self, which: NDArray[np.int64]) -> "Images":
        rows, labels, positions = self.rows[which], self.labels[which], self.positions[which]
        return replace(self, rows=rows, labels=labels, positions=positions)


def open_images(folder: Path, size: int, split: str) -> Images:
    """Open a split at `size` pixels, from data/images.

    The large images stay on disk, compressed. The small ones take 3 KB each and are read at once.
    Any other size is computed: for Fashion-MNIST from the small images, which have all that its
    files of 28 pixels hold, and for pictures from the large ones.

    Raises:
        ThawError: the file is missing, damaged or was not written by thaw.

    """
    dataset = read_dataset(folder)
    large = size == LARGE or (size != SMALL and not dataset.fashion_mnist)
    path = folder / f"rgb{LARGE if large else SMALL}.h5"
    try:
        file = h5py.File(check_input(path))
        labels, positions = file[split]["labels"][:], file[split]["positions"][:]
        # Fashion-MNIST's splits have their own images. Those of pictures share one array, because
        # it is written before the splits are known.
        own = "images" in file[split]
        if own or "images" in file:
            stored = file[split]["images"] if own else file["images"]
        else:  # too many pictures to store
            stored = PictureFiles.read(file, folder.parent.parent / dataset.folder)
        rows = np.arange(len(stored)) if own else positions
        if not large:
            stored, rows = stored[:] if own else stored[:][rows], np.arange(len(rows))
    except DAMAGED_HDF5 as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    check_labels(path, labels, len(rows), len(dataset.classes))
    return Images(path, stored, rows, labels, positions, size, dataset.fashion_mnist)


def check_labels(path: Path, labels: NDArray[np.int64], images: int, classes: int) -> None:
    """Check that the labels in `path` are those of `images` images of `classes` classes.

    Raises:
        ThawError: a label is out of range, or there are more or fewer labels than images.

    """
    if len(labels) != images:
        raise ThawError(
            f"{path} must have a label for each image. Received: {images:,} images, "
            f"{len(labels):,} labels. {remedy()}"
        )
    if images and not 0 <= labels.min() <= labels.max() < classes:
        raise ThawError(
            f"{path}: labels must be 0 to {classes - 1}. Received: {np.unique(labels)}. The file "
            f"is damaged, or not thaw's. {remedy()}"
        )
