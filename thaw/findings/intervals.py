"""How sure a measured share, or a difference of two, is."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


def wilson_interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (Wilson 1927) for a share of `successes` in `count`."""
    interval = binomtest(successes, count).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def share_metrics(name: str, successes: int, count: int) -> dict[str, float]:
    """Return a share and the ends of its 95 % interval, named `name`, `name_low`, `name_high`."""
    low, high = wilson_interval(successes, count)
    return {name: successes / count, f"{name}_low": low, f"{name}_high": high}


def paired_difference(
    one: NDArray[np.bool_],
    other: NDArray[np.bool_],
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Return how much more often one model is right than another, with a bootstrap interval.

    Both are asked about the same images, so images are drawn for both at once: what is hard for one
    is hard for the other, and an unpaired interval would be too wide. Where models were trained
    with several seeds, seeds are drawn, too (Efron & Tibshirani 1993, ch. 8 and 13).

    Args:
        one: whether each seed's model was right on each image, (seeds, images).
        other: the same for the other model, which may have fewer or more seeds.
        seed: of the drawing.
        resamples: how often images and seeds are drawn.
        confidence: of the interval, in (0, 1).

    Returns:
        The difference of mean accuracies, and the percentile interval's ends, in [-1, 1].

    """
    random = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for i in range(resamples):
        # How often each image was drawn: a product with it is faster than indexing.
        counts = np.bincount(random.integers(0, one.shape[1], one.shape[1]), minlength=one.shape[1])
        by_seed = [right @ counts / one.shape[1] for right in (one, other)]
        means = [random.choice(shares, len(shares)).mean() for shares in by_seed]
        drawn[i] = means[0] - means[1]
    low, high = np.quantile(drawn, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(one.mean() - other.mean()), float(low), float(high)
