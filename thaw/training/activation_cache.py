"""A cache of the frozen layers' output. It is computed once, and then only the rest trains.

The result is exact only if the frozen layers return the same output for an image in every epoch:
their batch normalisation must use its moving statistics, and images must not be augmented.
"""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from thaw.config.params import BackboneTraining
from thaw.data.image_store import Images
from thaw.network.backbone import image_model, split_at
from thaw.network.inference import Arrays, Network, predict_batches, ready
from thaw.support import paths
from thaw.support.files import require_space
from thaw.support.places import make_folder
from thaw.training.costs import cost

WORTH = 1.15
"""The smallest gain, as `expected_gain` gives it, that is worth the space on disk."""
FLOAT_BYTES = 4

LoadBatch = Callable[[NDArray[np.int64]], Arrays]
"""Maps n positions to the arrays (n, height, width, channels) float32 of the images there."""


@dataclass(frozen=True)
class CachePlan:
    """Whether to cache the frozen layers' output, and why."""

    cache: bool
    reason: str

    def __str__(self) -> str:
        """Return both as one text."""
        return f"{'cached' if self.cache else 'not cached'}, {self.reason}"


def plan_cache(
    backbone: keras.Model,
    frozen: int,
    images: int,
    training: BackboneTraining,
    frozen_batch_norm: str,
    max_gb: float,
) -> CachePlan:
    """Decide to cache if that is exact, fits on disk, and gains at least `WORTH`.

    The gain is computed from multiply-accumulate operations, see `costs.cost`.

    Args:
        backbone: a ResNet50 ending in pooling.
        frozen: how many of its first layers are frozen.
        images: how many images would be cached, training and validation together.
        training: the number of epochs, and whether images are augmented.
        frozen_batch_norm: inference or training, as in params.yaml.
        max_gb: the largest cache that is allowed on disk, 10^9 bytes.

    """
    if frozen_batch_norm == "training":
        return CachePlan(False, "frozen layers train on batch statistics: their output changes")
    if training.augment.some:
        return CachePlan(False, "images are augmented: the frozen layers' output changes")
    # The cache is filled by an inference engine, which has a precision of its own.
    if backbone.compute_dtype != "float32":
        return CachePlan(False, f"frozen layers compute in {backbone.compute_dtype}")
    # The exact conditions come first; gain and size only matter after them.
    gain = expected_gain(backbone, frozen, training.epochs)
    prefix, _ = split_at(backbone, frozen)
    size = images * sum(math.prod(output.shape[1:]) for output in prefix.outputs) * FLOAT_BYTES
    told = f"expected gain {gain:.2f}x, {size / 1e9:.2f} GB"
    if gain < WORTH:
        return CachePlan(False, f"{told}: worth it from {WORTH}x")
    if size > max_gb * 1e9:
        return CachePlan(False, f"{told}: over cache.max_gb, {max_gb:g}")
    return CachePlan(True, told)


def expected_gain(backbone: keras.Model, frozen: int, epochs: int) -> float:
    """Return the MACs of a run without a cache divided by those with one."""
    uncached, cached = (cost(backbone, frozen, epochs, kept) for kept in (False, True))
    return uncached / cached if cached else 1.0


def cached(
    root: Path,
    prefix: keras.Model,
    size: int,
    value_range: str,
    splits: Mapping[str, Images],
    engine: str,
    precision: str = "float32",
) -> dict[str, LoadBatch]:
    """Compute the outputs of `prefix` for all images, and keep them on disk.

    Args:
        root: the project's folder, which the files are written below.
        prefix: the frozen layers, with one or more outputs.
        size: side of the images, pixels.
        value_range: 0-255 or 0-1.
        splits: the images of each split.
        engine: keras or openvino.
        precision: what the engine computes in, float32 or bfloat16.

    Returns:
        A reader of the outputs for each split. The files are gone as soon as no reader uses them.

    Raises:
        OSError: there is not enough space on disk.
        ThawError: the processor cannot compute in `precision`.

    """
    model = image_model(prefix, size, value_range)
    network = ready(model, engine, precision)
    shapes = [tuple(output.shape[1:]) for output in model.outputs]
    count = sum(len(images) for images in splits.values())
    folder = root / paths.PRIVATE
    # Ask for the space of all splits before any is written: the files grow only as they fill.
    require_space(folder, count * sum(map(math.prod, shapes)) * FLOAT_BYTES)
    make_folder(folder)
    return {
        split: _reader(_written(folder, network, shapes, images))
        for split, images in splits.items()
    }


def _reader(arrays: Arrays) -> LoadBatch:
    return lambda which: tuple(array[which] for array in arrays)


def _written(
    folder: Path, network: Network, shapes: list[tuple[int, ...]], images: Images
) -> Arrays:
    arrays = tuple(_unnamed(folder, (len(images), *shape)) for shape in shapes)
    start = 0
    for tensors in predict_batches(network, images):
        for array, tensor in zip(arrays, tensors, strict=True):
            array[start : start + len(tensor)] = tensor
        start += len(tensors[0])
    return arrays


def _unnamed(folder: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array in a file without a name, so that a killed run leaves nothing behind."""
    with tempfile.TemporaryFile(dir=folder) as file:
        # The mapping keeps the file's blocks after the file is closed.
        return np.memmap(file, np.float32, "w+", shape=shape)
