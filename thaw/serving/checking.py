"""Whether an exported classifier gives what Keras gives: both are run on the same images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.data.dataset import FILE as DATASET_FILE
from thaw.data.dataset import read_dataset
from thaw.data.image_store import Images, open_images
from thaw.network.classifier import Description
from thaw.network.inference import batch_size
from thaw.serving.formats import Run
from thaw.support import paths
from thaw.support.errors import ThawError

MOST = 1000
"""Images of the check."""
TOLERANCE = 1e-4
"""The largest difference from Keras' probabilities that rounding may make in float32.

Measured with the three modes on 1,000 test images: up to 2e-6. So the predicted class can only
differ where the two best probabilities are within twice the tolerance."""
SEED = 0


@dataclass(frozen=True)
class Sample:
    """The images of a check."""

    images: Images
    origin: str
    """What they are: `test images of Fashion-MNIST`, or `generated images`."""
    labelled: bool
    """Whether the images have true labels, so that there is an accuracy."""


@dataclass(frozen=True)
class Check:
    """How an export compares with Keras."""

    origin: str
    images: int
    largest_difference: float
    """Of any probability of any image."""
    agreement: float
    """The fraction of the images for which both predict the same class."""
    accuracy: float | None
    """The export's; None where the images have no labels."""
    keras_accuracy: float | None


def own_images(root: Path, description: Description, split: str, most: int) -> Sample | None:
    """Return up to `most` images of a split, or None if data/images is not the model's dataset.

    Raises:
        ThawError: the images are damaged.

    """
    folder = root / paths.IMAGES
    if not (folder / DATASET_FILE).exists():
        return None
    dataset = read_dataset(folder)
    if (dataset.name, dataset.classes) != (description.dataset, description.classes):
        return None
    images = open_images(folder, description.image_size, split)
    if len(images) > most:
        images = images.sample(most, SEED)
    return Sample(images, f"{split} images of {dataset.name}", labelled=True)


def generated_images(size: int, count: int = 100) -> Sample:
    """Return made-up images: colour gradients and noise, each of another strength.

    They tell whether two runtimes compute the same, and nothing about accuracy.
    """
    rng = np.random.default_rng(SEED)
    corners = rng.uniform(0, 255, (count, 2, 2, 3))
    ramp = np.linspace(0, 1, size)
    weights = np.stack([1 - ramp, ramp])
    smooth = np.einsum("iy,jx,nijc->nyxc", weights, weights, corners)
    strength = np.linspace(0, 128, count)[:, None, None, None]
    pixels = smooth + strength * rng.uniform(-1, 1, smooth.shape)
    rows = np.arange(count)
    images = Images(
        path=Path("generated"),
        stored=np.clip(pixels, 0, 255).astype(np.uint8),
        rows=rows,
        labels=np.zeros(count, np.int64),
        positions=rows,
        size=size,
        gray=False,
    )
    return Sample(images, "generated images", labelled=False)


def probabilities(run: Run, images: Images) -> NDArray[np.float32]:
    """Run a classifier on all images: (n, classes) float32."""
    step = batch_size(images.size, "keras")
    starts = range(0, len(images), step)
    return np.concatenate([run(images.batch(slice(i, i + step))) for i in starts])


def compare(received: NDArray[np.float32], expected: NDArray[np.float32], sample: Sample) -> Check:
    """Compare an export's probabilities (n, classes) with Keras' on the same images.

    Raises:
        ThawError: they have another shape, or are not finite.

    """
    if received.shape != expected.shape or not np.isfinite(received).all():
        raise ThawError(
            f"the export must give finite probabilities {expected.shape}, as Keras does. Received: "
            f"{received.shape}, {np.isfinite(received).mean():.0%} of them finite. Nothing was "
            "kept."
        )
    classes = received.argmax(axis=1), expected.argmax(axis=1)
    right = [float((each == sample.images.labels).mean()) for each in classes]
    return Check(
        origin=sample.origin,
        images=len(received),
        largest_difference=float(np.abs(received - expected).max()),
        agreement=float((classes[0] == classes[1]).mean()),
        accuracy=right[0] if sample.labelled else None,
        keras_accuracy=right[1] if sample.labelled else None,
    )


def require_rounding_only(check: Check) -> None:
    """Check that an export differs from Keras by no more than rounding.

    Raises:
        ThawError: it differs by more than `TOLERANCE`.

    """
    if check.largest_difference > TOLERANCE:
        raise ThawError(
            f"the export must give Keras' probabilities to {TOLERANCE:g}. Received: a difference "
            f"of {check.largest_difference:.2g}, and the same class for {check.agreement:.1%} of "
            f"{check.images:,} {check.origin}. Nothing was kept. This is a bug of the converter or "
            "the runtime on this machine: try another --format, or install the locked versions "
            "with `make setup`."
        )
