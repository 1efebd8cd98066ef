"""Which images make up train, validation and test: stratified, drawn with a seed."""

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
"""The notebooks' image: this position among the 60,000."""
TEST_EXAMPLE = 0
"""A fixed test image: this position among the 10,000."""


def stratified(
    labels: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` positions in `labels` with its share of every class; return them and the rest.

    Both are sorted, so that files are read in their order. Each class gives its share to either,
    to within one image. The only image of a class mostly goes to the larger of the two.

    Args:
        labels: (n,) int64.
        count: how many to draw; 0 draws all of them.
        seed: of the draw.

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
    """Draw from classes of any size, also those that scikit-learn refuses.

    Each class gives its share, rounded down. The images that are then missing come from the classes
    that lost most by rounding; among classes that lost as much, chance decides.
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
    """Which images of which original file make up a split."""

    gray: GrayImages
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)


def make_splits(train: GrayImages, test: GrayImages, samples: Samples) -> dict[str, Split]:
    """Divide Fashion-MNIST into the splits of `SPLITS`.

    Validation comes from the 60,000, stratified, and shares no image with train; test comes from
    the 10,000. `examples` holds the two images that every model is asked about: training image
    `TRAIN_EXAMPLE` (whichever split it fell into) and test image `TEST_EXAMPLE`.
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
    """Check that train and validation share no image, and that neither holds one twice.

    Raises:
        ThawError: they do.

    """
    joined = np.concatenate([splits["train"].positions, splits["validation"].positions])
    if len(np.unique(joined)) != len(joined) or joined.max() >= TRAIN_IMAGES:
        raise ThawError(
            "train and validation overlap, so validation would measure what was learnt by heart. "
            f"Received: {len(joined):,} positions, {len(np.unique(joined)):,} different, up to "
            f"{joined.max():,}. No params lead there: undo what was changed in "
            "thaw/data/splits.py, or report it as a bug."
        )
