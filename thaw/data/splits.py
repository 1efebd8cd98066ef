"""Draw the images of train, validation and test, stratified by class and with a seed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from thaw.config.params import Samples
from thaw.data.dataset import EXAMPLES, PARTS
from thaw.data.fashion_mnist import GrayImages
from thaw.support.errors import ThawError

TRAIN_EXAMPLE = 6
"""The image that the notebooks show: its position among the 60,000 training images."""
TEST_EXAMPLE = 0
"""A fixed test image: its position among the 10,000."""


def stratified(
    labels: NDArray[np.int64], count: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` positions in `labels`, stratified by class; return them and the rest.

    Both results are sorted, so that files are read in order. Both have the same share of each class
    as `labels`, to within one image, except that every class gives at least one of `count` images
    if there are enough of them. If a class has one image, the larger result usually gets it.

    Args:
        labels: (n,) int64.
        count: how many to draw; 0 draws all, and so does a number above n, with a notice.
        seed: for the random generator.

    Returns:
        Positions (count,) and (n - count,) int64.

    """
    positions = np.arange(len(labels))
    if count > len(labels):
        print(f"{count:,} images are asked for, and {len(labels):,} are there: all are taken.")
    if count == 0 or count >= len(labels):
        return positions, positions[:0]
    _, sizes = np.unique(labels, return_counts=True)
    fewer = min(count, len(labels) - count)
    # scikit-learn refuses to draw fewer images than classes, and may draw none of a rare class.
    if fewer * sizes.min() < len(labels):
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
    one more image each until `count` is reached. Ties are broken at random. Then the class that
    gives most gives one image less for each class that gives none, if `count` suffices for all.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    classes, sizes = np.unique(labels, return_counts=True)
    shares, left = np.divmod(count * sizes, len(labels))
    most_left = np.lexsort((random.random(len(sizes)), -left))
    shares[most_left[: count - shares.sum()]] += 1
    for rare in np.flatnonzero(shares == 0) if count >= len(shares) else ():
        shares[shares.argmax()] -= 1
        shares[rare] = 1
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


def drawn_count(part: str, asked: int, labels: NDArray[np.int64]) -> int:
    """Return how many images a part takes that has to be drawn from images with these labels.

    It takes as many as `asked`, if that is at most a third of them; otherwise, and if `asked` is 0,
    a fifth. It takes at least one of each class. So the default counts, which suit Fashion-MNIST,
    leave enough images to train on in a smaller dataset.

    Args:
        part: its name in `samples` of params.yaml.
        asked: its value there.
        labels: (n,) int64.

    """
    there, classes = len(labels), len(np.unique(labels))
    count = max(asked if 0 < asked <= there // 3 else there // 5, classes)
    if asked not in (0, count):
        print(
            f"samples.{part}: {count:,} images are taken. Allowed: at least one of each class, and "
            f"at most a third of the {there:,} that are there. Received: {asked:,}.",
            flush=True,
        )
    return count


def make_splits(train: GrayImages, test: GrayImages, samples: Samples) -> dict[str, Split]:
    """Divide Fashion-MNIST into the splits of its dataset.json.

    Train and validation come from the 60,000 training images and share none; test comes from the
    10,000 test images. `examples` holds two images that every model classifies: training image
    `TRAIN_EXAMPLE`, which may be in any split or in none, and test image `TEST_EXAMPLE`.
    """
    count = drawn_count("validation", samples.validation, train.labels)
    validation, rest = stratified(train.labels, count, samples.seed)
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
        EXAMPLES: Split(examples, np.arange(2)),
    }


def draw_parts(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    parts: NDArray[np.str_] | None,
    samples: Samples,
) -> dict[str, NDArray[np.int64]]:
    """Divide pictures into the parts of `PARTS`; return the positions of each, sorted.

    Parts that the folder gives stay as they are. The others are drawn from `train`, or from all if
    the folder gives none, first test and then validation. Pictures of one group stay together.
    `samples` limits how many of a part are used.

    Args:
        labels: (n,) int64.
        groups: (n,) int64, equal for pictures that are copies of one another.
        parts: (n,) the parts that the folder gives, or None if it gives none.
        samples: the counts and the seed.

    """
    if parts is None:
        parts = np.full(len(labels), "train")
    given = set(parts.tolist())
    pool = np.flatnonzero(parts == "train")
    chosen = {part: np.flatnonzero(parts == part) for part in given - {"train"}}
    for part in ("test", "validation"):
        if part not in given:
            chosen[part], pool = _draw_groups(part, labels, groups, pool, samples)
    chosen["train"] = pool
    for part in given:
        kept, _ = stratified(labels[chosen[part]], getattr(samples, part), samples.seed)
        chosen[part] = chosen[part][kept]
    return {part: chosen[part] for part in PARTS}


def _draw_groups(
    part: str,
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    pool: NDArray[np.int64],
    samples: Samples,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw a part from the positions `pool`, group by group; return it and the rest of the pool."""
    unique, first = np.unique(groups[pool], return_index=True)
    one_each = labels[pool[first]]
    count = drawn_count(part, getattr(samples, part), one_each)
    drawn, _ = stratified(one_each, count, samples.seed)
    taken = np.isin(groups[pool], unique[drawn])
    return pool[taken], pool[~taken]


def check_split(parts: Mapping[str, NDArray[np.int64]]) -> None:
    """Check that no image is in two parts or twice in one, given the positions in each part.

    Raises:
        ThawError: an image is there twice.

    """
    joined = np.concatenate(list(parts.values()))
    if len(np.unique(joined)) != len(joined):
        raise ThawError(
            f"{' and '.join(parts)} overlap, so they would measure memorised images. Received: "
            f"{len(joined):,} positions, {len(np.unique(joined)):,} different. No params can "
            "cause this: undo your changes to thaw/data/splits.py, or report a bug."
        )
