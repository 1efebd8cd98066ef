"""Gray 28x28 to RGB of any size, the stratified split, and files that are read in part.

Resizing is that of the notebooks, `skimage.transform.resize(order=1, mode='constant')`. It is
linear and separable, so its operator is taken from scikit-image once, by resizing the identity
matrix, and applied to whole batches as two matrix products. Its entries are ratios of small
integers; in units of their common denominator all sums are exact, so the bytes are the same on any
processor.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from math import gcd
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import zstandard
from joblib import Parallel, delayed
from numpy.typing import NDArray
from skimage.transform import resize
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from thaw.config.fields import CLASSES, TRAIN_IMAGES
from thaw.config.params import Params
from thaw.data.fashion_mnist import GrayImages
from thaw.support.errors import ThawError
from thaw.support.files import DAMAGED_HDF5, atomic_file, remedy, require_space
from thaw.support.places import FOLDER, check_input, check_output

SMALL, LARGE = 32, 224
"""Sides of the two stored versions, pixels. Other sizes are computed from the small one."""
TRAIN_EXAMPLE = 6
"""The notebooks' image: this position among the 60,000."""
TEST_EXAMPLE = 0
"""A fixed test image: this position among the 10,000."""
PARTS = ("train", "validation", "test", "examples")
_RGB = np.dtype(("u1", (3,)))
COMPRESSION = -2
"""zstd's level: 1.4 GB for rgb224 of all 70,000; -1 takes 3 % longer and saves 4 % of that."""
_CACHED_IMAGES = 16
"""Resized at once: at 224 px they fit in a core's cache."""
_IMAGES_OF_A_TASK = 256
"""Made ready by a thread at once: enough to make what handing out costs small."""


@lru_cache
def resize_operator(source: int, target: int) -> tuple[NDArray[np.float64], int]:
    """Return scikit-image's linear resizing from `source` to `target` pixels, in whole numbers.

    Target pixel i lies at (i + 1/2) source/target - 1/2 on the source grid, a multiple of
    1 / (2 target), and so are the two weights of linear interpolation there.

    Returns:
        The operator (target, source), float64 with integer values, and the integer by which
        it must be divided.

    """
    operator = resize(np.eye(source), (target, source), order=1, mode="constant")
    denominator = 2 * target // gcd(2 * target, 2 * source, target - source)
    return np.rint(operator * denominator), denominator


def resize_gray(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize square gray images (n, side, side) to (n, size, size), rounded half up."""
    operator, denominator = resize_operator(images.shape[1], size)
    scale = denominator**2
    # float32 holds every whole number below 2^24, so that no sum is rounded, whatever its order.
    exact = np.float32 if 255 * scale < 1 << 24 else np.float64
    operator = operator.astype(exact)
    whole = operator @ images.astype(exact) @ operator.T
    # Narrow, where that suffices, and in place: on large images memory is what takes time.
    whole = whole.astype(np.uint16 if 256 * scale <= 1 << 16 else np.uint32)
    whole += scale // 2
    whole //= scale
    return whole.astype(np.uint8)


def to_rgb(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat gray images (n, h, w) as RGB (n, h, w, 3)."""
    return np.repeat(gray[..., np.newaxis], 3, axis=-1)


def stratified(
    labels: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` positions in `labels` with its share of every class; return them and the rest.

    Both are sorted, so that files are read in their order. `count` = 0 or all draws everything.
    Of every class either has its share to within one image; where a class has a single one, that
    mostly goes where most images go.

    Raises:
        ThawError: there are fewer.

    """
    positions = np.arange(len(labels))
    if count in (0, len(labels)):
        return positions, positions[:0]
    if count > len(labels):
        raise ThawError(
            f"at most {len(labels):,} images can be drawn here, as many are there. Received: "
            f"{count:,}. Ask for fewer in params.yaml."
        )
    _, sizes = np.unique(labels, return_counts=True)
    fewer = min(count, len(labels) - count)
    if sizes.min() < 2 or fewer < len(sizes):  # scikit-learn refuses these
        drawn, other = _drawn_by_shares(labels, count, seed)
    else:
        drawn, other = train_test_split(
            positions, train_size=count, stratify=labels, random_state=seed, shuffle=True
        )
    return np.sort(drawn), np.sort(other)


def _drawn_by_shares(
    labels: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw as scikit-learn does, of classes of any size: each gives its share, rounded down.

    What is then missing comes from those of which rounding took most; equals are drawn for.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    classes, sizes = np.unique(labels, return_counts=True)
    shares, left = np.divmod(count * sizes, len(labels))
    most_left = np.lexsort((random.random(len(sizes)), -left))
    shares[most_left[: count - shares.sum()]] += 1
    of_each = (
        order[labels[order] == label][:share] for label, share in zip(classes, shares, strict=True)
    )
    drawn = np.concatenate(list(of_each))
    return drawn, np.setdiff1d(order, drawn)


@dataclass(frozen=True)
class Part:
    """Which images of which original file make up a part of the split."""

    gray: GrayImages
    positions: NDArray[np.int64]


def split(train: GrayImages, test: GrayImages, params: Params) -> dict[str, Part]:
    """Divide Fashion-MNIST into the parts of `PARTS`.

    Validation comes from the 60,000, stratified, and shares no image with train; test comes from
    the 10,000. `examples` holds the two images that every model is asked about: training image
    `TRAIN_EXAMPLE` (wherever it fell) and test image `TEST_EXAMPLE`.
    """
    samples = params.samples
    validation, rest = stratified(train.labels, samples.validation, samples.seed)
    kept, _ = stratified(train.labels[rest], samples.train, samples.seed)
    tested, _ = stratified(test.labels, samples.test, samples.seed)
    both = GrayImages(
        np.stack([train.images[TRAIN_EXAMPLE], test.images[TEST_EXAMPLE]]),
        np.stack([train.labels[TRAIN_EXAMPLE], test.labels[TEST_EXAMPLE]]),
    )
    return {
        "train": Part(train, rest[kept]),
        "validation": Part(train, validation),
        "test": Part(test, tested),
        "examples": Part(both, np.arange(2)),
    }


def write_images(path: Path, parts: dict[str, Part], size: int) -> None:
    """Write every part at `size` pixels to one HDF5 file, whole or not at all.

    Each part is a group with `images` (n, size, size, 3) uint8, `labels` (n,) int64 and
    `positions` (n,) int64 in the original file. An image is one chunk; the three channels are
    stored apart (HDF5's shuffle filter on a 3-byte type), where zstd finds them equal. Chunks are
    made ready on all cores and written in order: HDF5 itself would use one.
    """
    check_output(path.parent, FOLDER)  # all of which is DVC's
    total = sum(len(part.positions) for part in parts.values())
    require_space(path.parent, total * size**2 // 2)  # 0.39 bytes a pixel are measured
    with (
        atomic_file(path) as scratch,
        h5py.File(scratch, "w") as file,
        tqdm(desc=f"{size} px", total=total, unit="img", disable=None) as bar,
    ):
        for name, part in parts.items():
            group = file.create_group(name)
            group["labels"] = part.gray.labels[part.positions]
            group["positions"] = part.positions
            stored = group.create_dataset(
                "images",
                shape=(len(part.positions), size, size),
                dtype=_RGB,
                chunks=(1, size, size),
                shuffle=True,
                **hdf5plugin.Zstd(clevel=COMPRESSION),
            )
            for row, chunk in enumerate(_chunks(part, size)):
                stored.id.write_direct_chunk((row, 0, 0), chunk)
                bar.update()


def _chunks(part: Part, size: int) -> Iterator[bytes]:
    """Yield what HDF5 stores of each image."""
    tasks = (
        delayed(_compressed)(
            part.gray.images[part.positions[start : start + _IMAGES_OF_A_TASK]], size
        )
        for start in range(0, len(part.positions), _IMAGES_OF_A_TASK)
    )
    with threadpool_limits(1):  # one thread of BLAS in each of joblib's
        for chunks in Parallel(n_jobs=-1, prefer="threads", return_as="generator")(tasks):
            yield from chunks


def _compressed(gray: NDArray[np.uint8], size: int) -> list[bytes]:
    """Return gray images (n, 28, 28) as RGB of `size` pixels, as HDF5's filters would leave them.

    Shuffled, the bytes of an image are its three channels one after another.
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
    """One part of the split, or some of it, at one size; pixels are read batch by batch.

    `rows` are places in this file, `positions` those in the original one.
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
        """Read one by one: h5py's own fancy indexing is several times slower."""
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


def open_images(folder: Path, size: int, part: str) -> Images:
    """Open a part of the split at `size` pixels, from data/images.

    The large version stays on disk, compressed; the small one (3 KB an image) is read whole.

    Raises:
        ThawError: the file is missing, damaged or was not written by `write_images`.

    """
    path = folder / f"rgb{LARGE if size == LARGE else SMALL}.h5"
    try:
        file = h5py.File(check_input(path))
        stored = file[part]["images"]
        labels, positions = file[part]["labels"][:], file[part]["positions"][:]
        pixels = stored if size == LARGE else stored[:]
    except DAMAGED_HDF5 as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    check_labels(path, labels, len(pixels))
    return Images(path, pixels, np.arange(len(labels)), labels, positions, size)


def check_labels(path: Path, labels: NDArray[np.int64], images: int) -> None:
    """Hold the labels in `path` to Fashion-MNIST's classes and to the number of images.

    Raises:
        ThawError: one is not from 0 to 9, or there is not one for each image.

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


def check_split(parts: dict[str, Part]) -> None:
    """Hold the split to what it promises.

    Raises:
        ThawError: train and validation share images, or a part holds one twice.

    """
    joined = np.concatenate([parts["train"].positions, parts["validation"].positions])
    if len(np.unique(joined)) != len(joined) or joined.max() >= TRAIN_IMAGES:
        raise ThawError(
            "train and validation overlap, so validation would measure what was learnt by heart. "
            f"Received: {len(joined):,} positions, {len(np.unique(joined)):,} different, up to "
            f"{joined.max():,}. No params lead there: undo what was changed in "
            "thaw/data/images.py, or report it as a bug."
        )
