"""Confidence intervals of accuracy and of macro recall, and of their differences."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

Draw = Callable[[np.random.Generator], NDArray[Any]]


def wilson_interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson 1927) for `successes` out of `count`, in [0, 1]."""
    interval = binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def share_metrics(name: str, successes: int, count: int) -> dict[str, float]:
    """Return a share and its 95 % interval under the keys `name`, `name_low` and `name_high`."""
    low, high = wilson_interval(successes, count)
    return {name: successes / count, f"{name}_low": low, f"{name}_high": high}


def paired_difference(
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    classes: NDArray[np.int64] | None = None,
) -> tuple[float, float, float]:
    """Return the difference between two models' accuracies, with a paired bootstrap interval.

    Both models are tested on the same images, so each resample draws the same images for both. An
    image that is hard for one model tends to be hard for the other, and an unpaired interval would
    be too wide. If a model was trained with several seeds, each resample also draws its seeds
    (Efron & Tibshirani 1993, ch. 8 and 13).

    With `classes` it is the difference in macro recall, the mean over the classes of the share of
    their images that are named right. Images are then drawn within their classes, so that a rare
    class keeps its images in every resample (Davison & Hinkley 1997, section 3.2).

    Args:
        one: whether the model of each seed was right on each image, (seeds, images) bool.
        other: the same for the other model, which may have another number of seeds.
        seed: the seed of the random draws.
        resamples: how many times images and seeds are drawn.
        confidence: the confidence level of the interval, in (0, 1).
        classes: the images' classes, (images,), for the difference in macro recall.

    Returns:
        The difference between the means over the seeds (`one` minus `other`), and the low and the
        high end of the percentile interval, all in [-1, 1].

    """
    random = np.random.default_rng(seed)
    draw, total = _drawing(one.shape[1], classes)
    drawn = np.empty(resamples)
    for i in range(resamples):
        # Weighing each image and taking a product is faster than indexing.
        weights = draw(random)
        by_seed = [right @ weights / total for right in (one, other)]
        means = [random.choice(shares, len(shares)).mean() for shares in by_seed]
        drawn[i] = means[0] - means[1]
    if classes is None:
        difference = one.mean() - other.mean()
    else:
        difference = macro_recall(one, classes).mean() - macro_recall(other, classes).mean()
    return float(difference), *_percentiles(drawn, confidence)


def macro_recall(correct: NDArray[np.bool_], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over the classes of the share of their images that are named right.

    Args:
        correct: whether each answer is right, (.., images) bool.
        classes: the images' classes, (images,).

    Returns:
        The macro recall in [0, 1], (..) float64.

    """
    _, of, sizes = np.unique(classes, return_inverse=True, return_counts=True)
    shares: NDArray[np.float64] = correct @ (1 / sizes)[of] / len(sizes)
    return shares


def macro_recall_interval(
    correct: NDArray[np.bool_],
    classes: NDArray[np.int64],
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return the bootstrap interval of one model's macro recall, images drawn within their classes.

    Args:
        correct: whether each answer is right, (images,) bool.
        classes: the images' classes, (images,).
        seed: the seed of the random draws.
        resamples: how many times images are drawn.
        confidence: the confidence level of the interval, in (0, 1).

    """
    random = np.random.default_rng(seed)
    draw, total = _drawing(len(correct), classes)
    drawn = np.array([correct @ draw(random) / total for _ in range(resamples)])
    return _percentiles(drawn, confidence)


def _drawing(images: int, classes: NDArray[np.int64] | None) -> tuple[Draw, int]:
    """Return a function that draws the weights of `images` images, and the sum of the weights.

    Without `classes`, an image's weight is how often it is drawn. With them, it is divided by the
    size of the image's class.
    """
    if classes is None:
        return lambda random: np.bincount(
            random.integers(0, images, images), minlength=images
        ), images
    order = np.argsort(classes, kind="stable")
    _, first, of, sizes = np.unique(
        classes[order], return_index=True, return_inverse=True, return_counts=True
    )
    low, size = first[of], sizes[of]

    def draw_within(random: np.random.Generator) -> NDArray[Any]:
        # In the place of each image comes one of the same class, so `size` serves both.
        drawn = order[random.integers(low, low + size)]
        return np.bincount(drawn, weights=1 / size, minlength=images)

    return draw_within, len(sizes)


def _percentiles(drawn: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
