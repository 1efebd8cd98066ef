"""The baseline without any retraining: ResNet50's own answers, a linear classifier and chance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from thaw.data.dataset import Dataset
from thaw.data.image_store import Images
from thaw.findings import imagenet
from thaw.findings.evaluation import Metrics
from thaw.findings.intervals import share_metrics
from thaw.findings.scores import chance_accuracy

TOP = 3
"""How many of ResNet50's likeliest classes are recorded for each image."""
_ITERATIONS = 1000
_PENALTY_INVERSE = 0.01
"""scikit-learn's C, the inverse of the L2 penalty's strength. The penalty is strong because there
are many pixels and neighbouring ones are correlated."""


@dataclass(frozen=True)
class ImageNetPredictions:
    """ResNet50's predictions for images in one value range.

    Attributes:
        test: probabilities of the test images, (n, 1000) float32.
        example: probabilities of training image 6, (1, 1000) float32, if the dataset has it.

    """

    test: NDArray[np.float32]
    example: NDArray[np.float32] | None


def linear_accuracy(train: Images, test: Images, threads: int) -> Metrics:
    """Fit a multinomial logistic regression on standardised pixels and return its metrics.

    Args:
        train: the images to fit on.
        test: the images to measure accuracy on.
        threads: how many threads the linear algebra libraries may use.

    Returns:
        The test accuracy with its 95 % interval, the numbers of images, and the accuracy by chance.

    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=_PENALTY_INVERSE, max_iter=_ITERATIONS, tol=1e-3)
    )
    # Several BLAS threads may sum in another order and change the last digits of the fit.
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
    """Return the values of all pixels in 0..255, (n, side * side * channels) float32."""
    pixels = images.batch(slice(None))
    if images.gray:  # the three channels are equal, so the first one holds everything
        pixels = pixels[..., :1]
    return pixels.astype(np.float32).reshape(len(images), -1)


def naming_metrics(
    named: Mapping[str, ImageNetPredictions],
    labels: NDArray[np.int64],
    dataset: Dataset,
    size: int,
) -> dict[str, Any]:
    """Return what ResNet50 calls the test images, by value range.

    The zero-shot accuracy is there if the dataset's classes are ImageNet's or Fashion-MNIST's, and
    the names for training image 6 if the dataset has it.

    Args:
        named: ResNet50's predictions by value range.
        labels: the test images' classes, (n,) int64.
        dataset: which classes these are.
        size: side of the images, in pixels.

    """
    to_label = imagenet.labels_of(dataset)
    zero_shot = {} if to_label is None else {"zero_shot_images": len(labels)}
    if zero_shot:
        zero_shot["zero_shot_image_size"] = size
    by_range = {
        value_range: _naming(answers, labels, to_label) for value_range, answers in named.items()
    }
    return {**zero_shot, **by_range}


def _naming(
    answers: ImageNetPredictions, labels: NDArray[np.int64], to_label: NDArray[np.int64] | None
) -> Metrics:
    classes = answers.test.argmax(axis=1)
    commonest, share = next(iter(imagenet.shares(classes).items()))
    metrics: Metrics = {"commonest_class": commonest, "commonest_share": share}
    if to_label is not None:
        right = int((to_label[classes] == labels).sum())
        metrics |= share_metrics("zero_shot_accuracy", right, len(labels))
    if answers.example is None:
        return metrics
    for rank, (name, probability) in enumerate(imagenet.top(answers.example, TOP)[0], 1):
        metrics[f"train_image_6_top{rank}_class"] = name
        metrics[f"train_image_6_top{rank}_probability"] = probability
    return metrics


def share_rows(answers: ImageNetPredictions, most: int = 15) -> list[tuple[str, float]]:
    """Return the commonest ImageNet classes and their shares of the top-1 answers, largest first.

    Args:
        answers: ResNet50's predictions.
        most: the largest number of classes to return.

    """
    shares = imagenet.shares(answers.test.argmax(axis=1))
    return [(name, round(share, 4)) for name, share in list(shares.items())[:most]]


PREDICTION_COLUMNS = ("value_range", "test_image", "label", "rank", "imagenet_class", "probability")


def prediction_rows(
    value_range: str, answers: ImageNetPredictions, images: Images, names: Sequence[str]
) -> Iterator[tuple[str, int, str, int, str, float]]:
    """Yield rows of `PREDICTION_COLUMNS`: the `TOP` likeliest classes of each test image.

    `names` are the names of the images' own classes.
    """
    best = imagenet.top(answers.test, TOP)
    for position, label, classes in zip(images.positions, images.labels, best, strict=True):
        for rank, (name, probability) in enumerate(classes, 1):
            row = (int(position), names[label], rank, name, round(probability, 4))
            yield (value_range, *row)


def save_image(path: Path, images: Images) -> None:
    """Write the first of `images` as a NumPy file that holds (size, size, 3) uint8."""
    np.save(path, images.batch(slice(0, 1))[0])
