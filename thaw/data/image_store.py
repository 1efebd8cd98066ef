"""Images on disk: one HDF5 file for each size, written whole, read batch by batch."""

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

from thaw.config.fields import CLASSES
from thaw.data.resizing import resize_gray, to_rgb
from thaw.data.splits import Split, stratified
from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_file, require_space
from thaw.support.hdf5 import DAMAGED_HDF5
from thaw.support.places import FOLDER, check_input, check_output

SMALL, LARGE = 32, 224
"""Sides of the two stored versions, pixels. Other sizes are computed from the small one."""
_RGB = np.dtype(("u1", (3,)))
COMPRESSION = -2
"""zstd's level: 1.4 GB for rgb224 of all 70,000; -1 takes 3 % longer and saves 4 % of that. HTJ2K
takes 0.55 GB and JPEG-LS of one channel 0.45 GB, but each takes three times as long to compress."""
_CACHED_IMAGES = 16
"""Images that are resized at once: at 224 px they fit in a core's cache."""
_IMAGES_OF_A_TASK = 256
"""Images that a thread compresses at once: enough that handing them out costs little."""


def write_images(path: Path, splits: dict[str, Split], size: int) -> None:
    """Write every split at `size` pixels to one HDF5 file, whole or not at all.

    Each split is a group with `images` (n, size, size, 3) uint8, `labels` (n,) int64 and
    `positions` (n,) int64 in the original file. An image is one chunk. HDF5's shuffle
    filter on a 3-byte type stores the three channels apart, so that zstd finds them equal. HDF5
    would compress on one core, so chunks are compressed here, on all cores, and written in order.
    """
    check_output(path.parent, FOLDER)  # all of which is DVC's
    total = sum(map(len, splits.values()))
    require_space(path.parent, total * size**2 // 2)  # 0.39 bytes a pixel are measured
    with (
        atomic_file(path) as scratch,
        h5py.File(scratch, "w") as file,
        tqdm(desc=f"{size} px", total=total, unit="img", disable=None) as bar,
    ):
        for name, split in splits.items():
            group = file.create_group(name)
            group["labels"] = split.gray.labels[split.positions]
            group["positions"] = split.positions
            stored = group.create_dataset(
                "images",
                shape=(len(split), size, size),
                dtype=_RGB,
                chunks=(1, size, size),
                shuffle=True,
                **hdf5plugin.Zstd(clevel=COMPRESSION),
            )
            for row, chunk in enumerate(_chunks(split, size)):
                stored.id.write_direct_chunk((row, 0, 0), chunk)
                bar.update()


def _chunks(split: Split, size: int) -> Iterator[bytes]:
    """Yield the bytes that HDF5 stores for each image."""
    tasks = (
        delayed(_compressed)(
            split.gray.images[split.positions[start : start + _IMAGES_OF_A_TASK]], size
        )
        for start in range(0, len(split), _IMAGES_OF_A_TASK)
    )
    with threadpool_limits(1):  # one thread of BLAS in each of joblib's
        for chunks in Parallel(n_jobs=-1, prefer="threads", return_as="generator")(tasks):
            yield from chunks


def _compressed(gray: NDArray[np.uint8], size: int) -> list[bytes]:
    """Return gray images (n, 28, 28) as RGB of `size` pixels, as HDF5's filters would store them.

    The shuffle filter puts the three channels of an image one after another.
    """
    compressor = zstandard.ZstdCompressor(level=COMPRESSION)
    chunks = []
    for start in range(0, len(gray), _CACHED_IMAGES):
        small = resize_gray(gray[start : start + _CACHED_IMAGES], SMALL)
        resized = small if size == SMALL else resize_gray(small, size)
        chunks += [compressor.compress(np.concatenate([image] * 3).data) for image in resized]
    return chunks


@dataclass(frozen=True)
class Images:
    """A split, or some of its images, at one size; pixels are read batch by batch.

    `rows` (n,) are positions in this file, `positions` (n,) those in the original file.
    """

    path: Path
    stored: h5py.Dataset | NDArray[np.uint8]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    positions: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, which: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Return the images at positions `which`, (n, size, size, 3) uint8, in that order."""
        rows = self.rows[which]
        if isinstance(self.stored, np.ndarray):
            pixels = self.stored[rows]
        else:
            pixels = self._read(self.stored, rows)
        if pixels.shape[1] == self.size:
            return pixels
        return to_rgb(resize_gray(pixels[..., 0], self.size))

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
        """Return `count` of the images, stratified; 0 = all."""
        which, _ = stratified(self.labels, count, seed)
        return self._only(which)

    def _only(self, which: NDArray[np.int64]) -> "Images":
        rows, labels, positions = self.rows[which], self.labels[which], self.positions[which]
        return replace(self, rows=rows, labels=labels, positions=positions)


def open_images(folder: Path, size: int, split: str) -> Images:
    """Open a split at `size` pixels, from data/images.

    The large version stays on disk, compressed; the small one (3 KB an image) is read whole.

    Raises:
        ThawError: the file is missing, damaged or was not written by `write_images`.

    """
    path = folder / f"rgb{LARGE if size == LARGE else SMALL}.h5"
    try:
        file = h5py.File(check_input(path))
        stored = file[split]["images"]
        labels, positions = file[split]["labels"][:], file[split]["positions"][:]
        pixels = stored if size == LARGE else stored[:]
    except DAMAGED_HDF5 as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    check_labels(path, labels, len(pixels))
    return Images(path, pixels, np.arange(len(labels)), labels, positions, size)


def check_labels(path: Path, labels: NDArray[np.int64], images: int) -> None:
    """Check that the labels in `path` are Fashion-MNIST's, one for each image.

    Raises:
        ThawError: a label is not from 0 to 9, or there are more or fewer labels than images.

    """
    if len(labels) != images:
        raise ThawError(
            f"{path} must have a label for each image. Received: {images:,} images, "
            f"{len(labels):,} labels. {remedy()}"
        )
    if images and not 0 <= labels.min() <= labels.max() < CLASSES:
        raise ThawError(
            f"{path}: labels must be 0 to 9. Received: {np.unique(labels)}. The file is damaged, "
            f"or not thaw's. {remedy()}"
        )
