"""The frozen layers' output, computed once where that pays; then only the rest trains.

This is exact where the frozen layers give an image the same output in every epoch: in inference
mode, so on moving statistics, and without augmentation.
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
"""Gain below which caching is not worth its disk."""
FLOAT_BYTES = 4

LoadBatch = Callable[[NDArray[np.int64]], Arrays]
"""Returns arrays (n, height, width, channels) float32 of the images at n positions."""


@dataclass(frozen=True)
class CachePlan:
    """Whether to cache the frozen layers' output, and why."""

    cache: bool
    reason: str

    def __str__(self) -> str:
        """Say both."""
        return f"{'cached' if self.cache else 'not cached'}, {self.reason}"


def plan_cache(
    backbone: keras.Model,
    frozen: int,
    images: int,
    training: BackboneTraining,
    frozen_batch_norm: str,
    max_gb: float,
) -> CachePlan:
    """Cache where it is exact, fits, and makes the run at least `WORTH` times as fast.

    The gain is counted in MACs, see `costs.cost`.

    Args:
        backbone: a ResNet50 ending in pooling.
        frozen: how many of its first layers are frozen.
        images: that would be cached, training and validation.
        training: how long the run is, and whether it augments.
        frozen_batch_norm: inference or training, as in params.yaml.
        max_gb: the most that may be kept on disk, 10^9 bytes.

    """
    if frozen_batch_norm == "training":
        return CachePlan(False, "frozen layers train on batch statistics: their output changes")
    if training.augment.some:
        return CachePlan(False, "images are augmented: the frozen layers' output changes")
    if backbone.compute_dtype != "float32":
        return CachePlan(False, f"frozen layers compute in {backbone.compute_dtype}")
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
    """Return how many times as fast a run with a cache should be, by MACs."""
    uncached, cached = (cost(backbone, frozen, epochs, kept) for kept in (False, True))
    return uncached / cached if cached else 1.0


def cached(
    root: Path,
    prefix: keras.Model,
    size: int,
    value_range: str,
    splits: Mapping[str, Images],
    engine: str,
) -> dict[str, LoadBatch]:
    """Return what reads `prefix`'s outputs for the images of each split, on disk while it lives."""
    model = image_model(prefix, size, value_range)
    network = ready(model, engine)
    shapes = [tuple(output.shape[1:]) for output in model.outputs]
    count = sum(len(images) for images in splits.values())
    folder = root / paths.PRIVATE
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
    """Return an array on disk whose file has no name: a run that is killed leaves nothing."""
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
