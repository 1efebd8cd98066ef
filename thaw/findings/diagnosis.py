"""The notebooks' mistakes, switched on and off one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from thaw.config.fields import BACKBONE_LAYERS, FROZEN_BATCH_NORMS, VALUE_RANGES
from thaw.config.params import Params
from thaw.data.image_store import Images, open_images
from thaw.findings.evaluation import Metrics
from thaw.network import backbone, weights
from thaw.network.heads import build_head
from thaw.network.inference import batch_size, predict
from thaw.support.runtime import seed_everything, set_up
from thaw.training.batches import Batches
from thaw.training.checkpoint import Checkpoint, open_checkpoint
from thaw.training.fitting import fit
from thaw.training.history import History

DEVIATION_IMAGES = 256
SHIFT_IMAGES = 256
KERAS_MOMENTUM = 0.99
"""Keras' default for batch normalisation's running statistics."""
LEFT_AFTER_AN_EPOCH = 0.03
"""Share of the old running statistics that a fitted momentum leaves after one epoch."""


@dataclass(frozen=True)
class Cell:
    """One combination of causes.

    Attributes:
        freeze: how many of ResNet50's layers are frozen.
        value_range: byte or unit.
        frozen_batch_norm: what frozen batch normalisation trains on, inference or training.
        momentum: of thawed batch normalisation's running statistics.

    """

    freeze: int
    value_range: str
    frozen_batch_norm: str
    momentum: float

    @property
    def statistics(self) -> str:
        """What sets the cell apart in its batch normalisation."""
        return f"momentum {self.momentum:g}" if self.freeze == 0 else self.frozen_batch_norm

    @property
    def key(self) -> str:
        """The cell's name in the metrics."""
        statistics = self.statistics.replace(" ", "_").replace(".", "")
        return f"freeze_{self.freeze}_{self.value_range}_{statistics}"


@dataclass(frozen=True)
class CellResult:
    """What a cell gave.

    Attributes:
        history: of its training.
        shifts: by batch normalisation layer, how far the statistics that training used are from
            those that validation used: see `statistics_shift`.
        kept: its checkpoint, to be cleared once the results are written.

    """

    history: History
    shifts: dict[str, float]
    kept: Checkpoint


def fitted_momentum(steps: int) -> float:
    """Return the momentum that leaves 3 % of the old running statistics after `steps` steps.

    At most 0.98: with so many steps that Keras' 0.99 fits, something quicker stands beside it.
    """
    return min(round(LEFT_AFTER_AN_EPOCH ** (1 / steps), 2), 0.98)


def cells(params: Params) -> Iterator[Cell]:
    """Yield every combination, for each of `diagnose.freeze`.

    Where layers are frozen: input range x what their batch normalisation trains on, with Keras'
    momentum for the others, as in the notebooks. Where none is: input range x momentum.
    """
    steps = -(-params.diagnose.images // params.diagnose.batch_size)
    base = weights.resnet50(params.image_size, top=False)
    for freeze in params.diagnose.freeze:
        count = backbone.freeze_count(base, freeze)
        for value_range in VALUE_RANGES:
            if count:
                for frozen_batch_norm in FROZEN_BATCH_NORMS:
                    yield Cell(count, value_range, frozen_batch_norm, KERAS_MOMENTUM)
            else:
                for momentum in (fitted_momentum(steps), KERAS_MOMENTUM):
                    yield Cell(count, value_range, "inference", momentum)


def diagnose(root: Path, params: Params) -> tuple[dict[Cell, CellResult], Metrics]:
    """Train the notebook's head in each cell.

    Returns:
        What each cell gave, and the metrics: train and validation accuracy after the last epoch, as
        the notebooks saw them, the mean shift of the statistics, and how much the pictures still
        vary, as the standard deviation (of 0..255 levels) of what `preprocess_input` returns.

    """
    set_up(params.threads)
    train, validation = _sample(root, params)
    outcomes: dict[Cell, CellResult] = {}
    metrics = _setup(root, params)
    for value_range in VALUE_RANGES:
        metrics[f"{value_range}_input_deviation"] = _deviation(train, value_range)
    for cell in cells(params):
        print(f"cell: {cell.freeze} layers frozen, {cell.value_range} input, {cell.statistics}")
        kept = _checkpoint(root, params, train, cell)
        outcome = _fit_cell(root, params, (train, validation), cell, kept)
        outcomes[cell] = outcome
        last = outcome.history.rows[-1]
        metrics[f"{cell.key}_train_accuracy"] = last["accuracy"]
        metrics[f"{cell.key}_validation_accuracy"] = last["val_accuracy"]
        metrics[f"{cell.key}_validation_loss"] = last["val_loss"]
        metrics[f"{cell.key}_statistics_shift"] = float(np.mean(list(outcome.shifts.values())))
    return outcomes, metrics


def _setup(root: Path, params: Params) -> Metrics:
    return {
        "weights": weights.load_source(root / "data/weights").name,
        "train_images": params.diagnose.images,
        "validation_images": params.diagnose.validation_images,
        "epochs": params.diagnose.epochs,
    }


def _sample(root: Path, params: Params) -> tuple[Images, Images]:
    counts = {"train": params.diagnose.images, "validation": params.diagnose.validation_images}
    train, validation = (
        open_images(root / "data/images", params.image_size, part).sample(count, params.seed)
        for part, count in counts.items()
    )
    return train, validation


def _deviation(images: Images, value_range: str) -> float:
    """Return the standard deviation over pixels of what reaches ResNet50, averaged over images."""
    pixels = images.batch(slice(0, DEVIATION_IMAGES))
    seen = ops.convert_to_numpy(backbone.preprocess(pixels, value_range))
    return float(seen.std(axis=(1, 2)).mean(dtype=np.float64))


def _fit_cell(
    root: Path, params: Params, images: tuple[Images, Images], cell: Cell, kept: Checkpoint
) -> CellResult:
    """Train one cell, every one from the same seed."""
    seed_everything(params.seed)
    settings = params.diagnose
    base = backbone.for_training(weights.resnet50(params.image_size, top=False))
    weights.load(root / "data/weights", base)
    backbone.freeze_first(base, cell.freeze)
    backbone.set_batch_norm_momentum(base, cell.momentum)
    head = build_head(settings.head, params.seed)
    if cell.freeze == BACKBONE_LAYERS and cell.frozen_batch_norm == "inference":
        model = head  # features do not change: one pass over the images is enough
        features = backbone.image_model(base, params.image_size, cell.value_range)
        read: list[Any] = [predict(features, some).__getitem__ for some in images]
    else:
        if cell.frozen_batch_norm == "training":
            base = backbone.with_batch_statistics(base)
        model = backbone.image_model(base, params.image_size, cell.value_range, head)
        read = [some.batch for some in images]
    train = Batches(read[0], images[0].labels, settings.batch_size, params.seed)
    validation = Batches(read[1], images[1].labels, batch_size(params.image_size, "keras"))
    history = fit(model, train, validation, settings, kept)
    kept.restore_last(model)  # the last epoch's weights, not the best's: as the notebooks had them
    shown = images[0].sample(min(SHIFT_IMAGES, len(images[0])), params.seed)
    inputs = backbone.preprocess(shown.batch(slice(None)), cell.value_range)
    return CellResult(history, statistics_shift(base, inputs, settings.batch_size), kept)


def statistics_shift(base: keras.Model, inputs: keras.KerasTensor, batch: int) -> dict[str, float]:
    """Return how far training's statistics are from validation's, by batch normalisation layer.

    That is |m - M| / sqrt(V + epsilon), averaged over channels and batches: m is the mean that
    training normalises a channel with, M and V are the stored mean and variance, which validation
    normalises it with. 0 where training uses the stored ones, too. Calling `base` for training
    moves the running statistics of thawed layers: they are put back.

    Args:
        base: ResNet50 without its top.
        inputs: preprocessed images (n, size, size, 3).
        batch: images in a batch of training.

    """
    layers = [each for each in base.layers if isinstance(each, keras.layers.BatchNormalization)]
    before = {layer.name: layer.get_weights() for layer in layers}
    moving = [layer for layer in layers if _trains_on_the_batch(layer)]
    shifts = {layer.name: 0.0 for layer in layers}
    if not moving:
        return shifts
    means = keras.Model(base.input, [ops.mean(layer.input, axis=(0, 1, 2)) for layer in moving])
    seen = tf.function(means)  # a graph: called at once, Keras would keep every layer's output
    starts = range(0, max(len(inputs) - batch, 0) + 1, batch)
    for start in starts:
        outputs = keras.tree.flatten(seen(inputs[start : start + batch], training=True))
        for layer, batch_mean in zip(moving, outputs, strict=True):
            _, _, mean, variance = before[layer.name]
            distance = np.abs(batch_mean.numpy() - mean) / np.sqrt(variance + layer.epsilon)
            shifts[layer.name] += float(distance.mean()) / len(starts)
    for layer in layers:
        layer.set_weights(before[layer.name])
    return shifts


def _trains_on_the_batch(layer: keras.layers.BatchNormalization) -> bool:
    return layer.trainable or isinstance(layer, backbone.BatchNormalization)


def _checkpoint(root: Path, params: Params, images: Images, cell: Cell) -> Checkpoint:
    used = params.model_dump(include={"seed", "threads", "image_size", "diagnose"}, mode="json")
    used["diagnose"].pop("freeze")
    files = [root / "data/weights" / weights.WEIGHTS_FILE, images.path]
    return open_checkpoint(root, f"diagnose-{cell.key}", used, files, package="findings")
