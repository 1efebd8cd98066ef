"""Confidence intervals of a measured share, and of the difference between two shares."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


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
) -> tuple[float, float, float]:
    """Return the difference between two models' accuracies, with a paired bootstrap interval.

    Both models are tested on the same images, so each resample draws the same images for both. An
    image that is hard for one model tends to be hard for the other, and an unpaired interval would
    be too wide. If a model was trained with several seeds, each resample also draws its seeds
    (Efron & Tibshirani 1993, ch. 8 and 13).

    Args:
        one: whether the model of each seed was right on each image, (seeds, images) bool.
        other: the same for the other model, which may have another number of seeds.
        seed: the seed of the random draws.
        resamples: how many times images and seeds are drawn.
        confidence: the confidence level of the interval, in (0, 1).

    Returns:
        The difference between the mean accuracies (`one` minus `other`), and the low and the high
        end of the percentile interval, all in [-1, 1].

    """
    random = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        # Counting the draws of each image and taking a product is faster than indexing.
        counts = np.bincount(random.integers(0, one.shape[1], one.shape[1]), minlength=one.shape[1])
        by_seed = [right @ counts / one.shape[1] for right in (one, other)]
        means = [random.choice(shares, len(shares)).mean() for shares in by_seed]
        drawn[i] = means[0] - means[1]
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(one.mean() - other.mean()), float(low), float(high)
