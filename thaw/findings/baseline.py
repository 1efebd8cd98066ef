"""What is known before any retraining: ResNet50's own answers, a linear classifier, chance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images
from thaw.findings import imagenet
from thaw.findings.evaluation import Metrics, wilson_interval

TOP = 3
_ITERATIONS = 1000
_PENALTY_INVERSE = 0.01
"""scikit-learn's C. Pixels are many and alike, so the penalty is strong."""


@dataclass(frozen=True)
class ImageNetPredictions:
    """What ResNet50 says in one input range.

    Attributes:
        test: probabilities (n, 1000) float32 on test images.
        example: probabilities (1, 1000) float32 on training image 6.

    """

    test: NDArray[np.float32]
    example: NDArray[np.float32]


def linear_accuracy(train: Images, test: Images, threads: int) -> Metrics:
    """Return the test accuracy of multinomial logistic regression on standardised gray pixels."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=_PENALTY_INVERSE, max_iter=_ITERATIONS, tol=1e-3)
    )
    with threadpool_limits(threads):
        model.fit(_pixels(train), train.labels)
        right = int((model.predict(_pixels(test)) == test.labels).sum())
    return _share("linear_pixels_accuracy", right, len(test)) | {
        "linear_pixels_train_images": len(train),
        "linear_pixels_test_images": len(test),
        "chance_accuracy": float(np.bincount(test.labels).max() / len(test)),
    }


def _pixels(images: Images) -> NDArray[np.float32]:
    """Return the gray values (n, side * side), 0..255; the three channels are equal."""
    gray = images.batch(slice(None))[..., 0].astype(np.float32)
    return gray.reshape(len(images), -1)


def _share(name: str, successes: int, count: int) -> Metrics:
    low, high = wilson_interval(successes, count)
    return {name: successes / count, f"{name}_low": low, f"{name}_high": high}


def naming_metrics(named: Mapping[str, ImageNetPredictions], labels: NDArray[np.int64]) -> Metrics:
    """Return zero-shot accuracy and what ResNet50 calls training image 6, by input range.

    Args:
        named: ResNet50's answers by input range.
        labels: the test images' Fashion-MNIST classes (n,).

    """
    metrics: Metrics = {"zero_shot_images": len(labels)}
    for value_range, answers in named.items():
        classes = answers.test.argmax(axis=1)
        right = int((imagenet.to_fashion(classes) == labels).sum())
        commonest, share = next(iter(imagenet.shares(classes).items()))
        metrics |= _share(f"{value_range}_zero_shot_accuracy", right, len(labels))
        metrics[f"{value_range}_commonest_class"] = commonest
        metrics[f"{value_range}_commonest_share"] = share
        for rank, (name, probability) in enumerate(imagenet.top(answers.example, TOP)[0], 1):
            metrics[f"{value_range}_train_image_6_top{rank}_class"] = name
            metrics[f"{value_range}_train_image_6_top{rank}_probability"] = probability
    return metrics


def share_rows(answers: ImageNetPredictions, most: int = 15) -> list[tuple[str, float]]:
    """Return the commonest ImageNet classes with their share of top-1 answers, largest first."""
    shares = imagenet.shares(answers.test.argmax(axis=1))
    return [(name, round(share, 4)) for name, share in list(shares.items())[:most]]


PREDICTION_COLUMNS = ("value_range", "test_image", "label", "rank", "imagenet_class", "probability")


def prediction_rows(
    value_range: str, answers: ImageNetPredictions, images: Images
) -> Iterator[tuple[str, int, str, int, str, float]]:
    """Yield `PREDICTION_COLUMNS`: each test image's likeliest classes, by image and rank."""
    best = imagenet.top(answers.test, TOP)
    for position, label, classes in zip(images.positions, images.labels, best, strict=True):
        for rank, (name, probability) in enumerate(classes, 1):
            row = (int(position), CLASS_NAMES[label], rank, name, round(probability, 4))
            yield (value_range, *row)


def save_image(path: Path, images: Images) -> None:
    """Write the first of `images` as an array (size, size, 3) uint8."""
    np.save(path, images.batch(slice(0, 1))[0])
