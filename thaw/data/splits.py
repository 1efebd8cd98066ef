"""Draw the images of train, validation and test, stratified by class and with a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from thaw.config.fields import TRAIN_IMAGES
from thaw.config.params import Samples
from thaw.data.fashion_mnist import GrayImages
from thaw.support.errors import ThawError

SPLITS = ("train", "validation", "test", "examples")
TRAIN_EXAMPLE = 6
"""The image that the notebooks show: its position among the 60,000 training images."""
TEST_EXAMPLE = 0
"""A fixed test image: its position among the 10,000."""


def stratified(
    labels: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` positions in `labels`, stratified by class; return them and the rest.

    Both results are sorted, so that files are read in order. Both have the same share of each class
    as `labels`, to within one image. If a class has one image, the larger result usually gets it.

    Args:
        labels: (n,) int64.
        count: how many to draw; 0 draws all.
        seed: for the random generator.

    Returns:
        Positions (count,) and (n - count,) int64.

    Raises:
        ThawError: `count` is larger than n.

    """
    positions = np.arange(len(labels))
    if count in (0, len(labels)):
        return positions, positions[:0]
    if count > len(labels):
        raise ThawError(
            f"at most {len(labels):,} images can be drawn here, since there are no more. Received: "
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
    """Draw from classes of any size, even where scikit-learn refuses to.

    Each class first gives its share, rounded down. The classes that lost most by rounding then give
    one more image each until `count` is reached. Ties are broken at random.
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
class Split:
    """A split: positions (n,) int64 of its images in one of the original files."""

    gray: GrayImages
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)


def make_splits(train: GrayImages, test: GrayImages, samples: Samples) -> dict[str, Split]:
    """Divide Fashion-MNIST into the splits of `SPLITS`.

    Train and validation come from the 60,000 training images and share none; test comes from the
    10,000 test images. `examples` holds two images that every model classifies: training image
    `TRAIN_EXAMPLE`, which may be in any split or in none, and test image `TEST_EXAMPLE`.

    Raises:
        ThawError: `samples` asks for more images than exist.

    """
    validation, rest = stratified(train.labels, samples.validation, samples.seed)
    kept, _ = stratified(train.labels[rest], samples.train, samples.seed)
    tested, _ = stratified(test.labels, samples.test, samples.seed)
    examples = GrayImages(
        np.stack([train.images[TRAIN_EXAMPLE], test.images[TEST_EXAMPLE]]),
        np.stack([train.labels[TRAIN_EXAMPLE], test.labels[TEST_EXAMPLE]]),
    )
    return {
        "train": Split(train, rest[kept]),
        "validation": Split(train, validation),
        "test": Split(test, tested),
        "examples": Split(examples, np.arange(2)),
    }


def check_split(splits: dict[str, Split]) -> None:
    """Check that no image is in train and validation, or twice in either.

    Raises:
        ThawError: an image is in both or there twice, or a position is out of range.

    """
    joined = np.concatenate([splits["train"].positions, splits["validation"].positions])
    if len(np.unique(joined)) != len(joined) or joined.max() >= TRAIN_IMAGES:
        raise ThawError(
            "train and validation overlap, so validation would measure memorised images. "
            f"Received: {len(joined):,} positions, {len(np.unique(joined)):,} different, up to "
            f"{joined.max():,}. No params can cause this: undo your changes to "
            "thaw/data/splits.py, or report a bug."
        )
