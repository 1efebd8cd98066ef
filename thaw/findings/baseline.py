"""What is known before any retraining: ResNet50's own answers, a linear classifier, chance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images
from thaw.findings import imagenet
from thaw.findings.evaluation import Metrics
from thaw.findings.intervals import share_metrics
from thaw.findings.scores import chance_accuracy

TOP = 3
_ITERATIONS = 1000
_PENALTY_INVERSE = 0.01
"""scikit-learn's C. Pixels are many and alike, so the penalty is strong."""


@dataclass(frozen=True)
class ImageNetPredictions:
    """What ResNet50 says of images in one value range.

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
    return {
        **share_metrics("linear_pixels_accuracy", right, len(test)),
        "linear_pixels_train_images": len(train),
        "linear_pixels_test_images": len(test),
        "chance_accuracy": chance_accuracy(test.labels),
    }


def _pixels(images: Images) -> NDArray[np.float32]:
    """Return the gray values (n, side * side), 0..255; the three channels are equal."""
    gray = images.batch(slice(None))[..., 0].astype(np.float32)
    return gray.reshape(len(images), -1)


def naming_metrics(
    named: Mapping[str, ImageNetPredictions], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """Return zero-shot accuracy and what ResNet50 calls training image 6, below the value range.

    Args:
        named: ResNet50's answers by value range.
        labels: the test images' Fashion-MNIST classes (n,).

    """
    by_range = {value_range: _naming(answers, labels) for value_range, answers in named.items()}
    return {"zero_shot_images": len(labels), **by_range}


def _naming(answers: ImageNetPredictions, labels: NDArray[np.int64]) -> Metrics:
    classes = answers.test.argmax(axis=1)
    right = int((imagenet.to_fashion(classes) == labels).sum())
    commonest, share = next(iter(imagenet.shares(classes).items()))
    metrics: Metrics = {"commonest_class": commonest, "commonest_share": share}
    metrics |= share_metrics("zero_shot_accuracy", right, len(labels))
    for rank, (name, probability) in enumerate(imagenet.top(answers.example, TOP)[0], 1):
        metrics[f"train_image_6_top{rank}_class"] = name
        metrics[f"train_image_6_top{rank}_probability"] = probability
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
