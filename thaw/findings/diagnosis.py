"""The diagnosis: training runs with each of the notebooks' mistakes switched on and off."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from thaw.config.fields import BACKBONE_LAYERS, FROZEN_BATCH_NORMS, VALUE_RANGES
from thaw.config.stages import DiagnoseConfig
from thaw.data.dataset import read_dataset
from thaw.data.image_store import Images, open_images
from thaw.findings.cells import CellRow, nested, statistics_in_words
from thaw.findings.shifts import statistics_shift
from thaw.network import backbone, weights
from thaw.network.heads import build_head
from thaw.network.inference import batch_size, predict
from thaw.support import paths
from thaw.support.runtime import seed_everything, set_up
from thaw.training.batches import Batches
from thaw.training.checkpoint import Checkpoint, open_checkpoint
from thaw.training.fitting import fit
from thaw.training.history import History

DEVIATION_IMAGES = 256
"""How many training images the input's standard deviation is measured on."""
SHIFT_IMAGES = 256
"""How many training images the shift of the statistics is measured on, at most."""
KERAS_MOMENTUM = 0.99
"""Keras' default momentum for the running statistics of batch normalisation."""
LEFT_AFTER_AN_EPOCH = 0.03
"""The share of the old running statistics that is left after one epoch with `fitted_momentum`."""


@dataclass(frozen=True)
class Cell:
    """One combination of causes.

    Attributes:
        freeze: how many of ResNet50's layers are frozen.
        value_range: the range of the pixels passed to `preprocess_input`, 0-255 or 0-1.
        frozen_batch_norm: the mode in which frozen batch normalisation layers run during training,
            `inference` or `training`.
        momentum: the momentum of the running statistics in thawed batch normalisation layers.

    """

    freeze: int
    value_range: str
    frozen_batch_norm: str
    momentum: float

    @property
    def statistics(self) -> str:
        """The setting of batch normalisation that distinguishes this cell, for `CellRow`."""
        return f"momentum {self.momentum:g}" if self.freeze == 0 else self.frozen_batch_norm


@dataclass(frozen=True)
class CellResult:
    """The results of one cell.

    Attributes:
        cell: the combination that was trained.
        history: the history of its training.
        shifts: the result of `statistics_shift`, by batch normalisation layer.
        checkpoint: the cell's checkpoint, to be cleared once the results are written.

    """

    cell: Cell
    history: History
    shifts: dict[str, float]
    checkpoint: Checkpoint

    @property
    def row(self) -> CellRow:
        """The cell's line in the table, with the last epoch's numbers as in the notebooks."""
        last = self.history.rows[-1]
        return CellRow(
            self.cell.freeze,
            self.cell.value_range,
            self.cell.statistics,
            last["accuracy"],
            last["val_accuracy"],
            last["val_loss"],
            float(np.mean(list(self.shifts.values()))),
        )


def fitted_momentum(steps: int) -> float:
    """Return the momentum that leaves 3 % of the old running statistics after `steps` steps.

    The result is at most 0.98. With many steps the fitted momentum would be Keras' own 0.99, and
    the cells would then have no faster momentum to compare it with.
    """
    return min(round(LEFT_AFTER_AN_EPOCH ** (1 / steps), 2), 0.98)


def cells(frozen: Sequence[int], steps: int) -> Iterator[Cell]:
    """Yield every combination of causes for each number of frozen layers.

    If layers are frozen, the cells combine the value range with the mode of frozen batch
    normalisation; thawed layers keep Keras' momentum, as in the notebooks. If no layer is frozen,
    the cells combine the value range with the momentum.

    Args:
        frozen: the numbers of frozen layers.
        steps: the number of training steps in an epoch.

    """
    for count in frozen:
        for value_range in VALUE_RANGES:
            if count:
                for frozen_batch_norm in FROZEN_BATCH_NORMS:
                    yield Cell(count, value_range, frozen_batch_norm, KERAS_MOMENTUM)
            else:
                for momentum in (fitted_momentum(steps), KERAS_MOMENTUM):
                    yield Cell(count, value_range, "inference", momentum)


def diagnose(root: Path, config: DiagnoseConfig) -> tuple[list[CellResult], dict[str, Any]]:
    """Train a classifier with the notebooks' head in each cell.

    The notebooks used Fashion-MNIST. For another dataset there is no cell and no metric.

    Returns:
        The cells' results, and the metrics. The metrics hold the set-up, each cell's row, and for
        each value range the standard deviation of what `preprocess_input` returns, in levels of
        0..255.

    """
    if not read_dataset(root / paths.IMAGES).fashion_mnist:
        return [], {}
    set_up(config.threads, config.instruction_set)
    settings = config.diagnose
    base = weights.resnet50(config.image_size, top=False)
    frozen = [backbone.freeze_count(base, freeze) for freeze in settings.freeze]
    train, validation = _sample(root, config)
    results = []
    # The last batch of an epoch may be short, so the number of steps is rounded up.
    for cell in cells(frozen, steps=-(-len(train) // settings.batch_size)):
        statistics = statistics_in_words(cell.statistics)
        print(f"cell: {cell.freeze} layers frozen, {cell.value_range} input, {statistics}")
        results.append(_fit_cell(root, config, train, validation, cell))
    return results, {
        "weights": weights.load_source(root / paths.WEIGHTS).name,
        "train_images": len(train),
        "validation_images": len(validation),
        "epochs": settings.epochs,
        "cells": nested(result.row for result in results),
        **{name: {"input_deviation": _deviation(train, name)} for name in VALUE_RANGES},
    }


def _sample(root: Path, config: DiagnoseConfig) -> tuple[Images, Images]:
    counts = {
        "train": config.diagnose.images,
        "validation": config.diagnose.validation_images,
    }
    train, validation = (
        open_images(root / paths.IMAGES, config.image_size, split).sample(count, config.seed)
        for split, count in counts.items()
    )
    return train, validation


def _deviation(images: Images, value_range: str) -> float:
    """Return the standard deviation over an image's preprocessed pixels, averaged over images."""
    pixels = images.batch(slice(0, DEVIATION_IMAGES))
    seen = ops.convert_to_numpy(backbone.preprocess(pixels, value_range))
    return float(seen.std(axis=(1, 2)).mean(dtype=np.float64))


def _fit_cell(
    root: Path, config: DiagnoseConfig, train: Images, validation: Images, cell: Cell
) -> CellResult:
    """Train one cell. Every cell starts from the same seed."""
    settings, size = config.diagnose, config.image_size
    checkpoint = _checkpoint(root, config, train, cell)
    seed_everything(config.seed)
    base = backbone.for_training(weights.resnet50(size, top=False))
    weights.load(root / paths.WEIGHTS, base)
    backbone.freeze_first(base, cell.freeze)
    backbone.set_batch_norm_momentum(base, cell.momentum)
    classes = len(read_dataset(root / paths.IMAGES).classes)
    head = build_head(settings.head, classes, config.seed)
    features = backbone.image_model(base, size, cell.value_range)
    if cell.frozen_batch_norm == "training":
        base = backbone.with_batch_statistics(base)
    model = backbone.image_model(base, size, cell.value_range, head)
    load_batch: list[Any] = [some.batch for some in (train, validation)]
    if cell.freeze == BACKBONE_LAYERS:
        # Nothing in the base changes during training, so only the head is fitted.
        model = head
        load_batch = [
            _by_batch(backbone.image_model(base, size, cell.value_range), train)
            if cell.frozen_batch_norm == "training"
            else predict(features, train).__getitem__,
            predict(features, validation).__getitem__,
        ]
    history = fit(
        model,
        Batches(load_batch[0], train.labels, settings.batch_size, config.seed),
        Batches(load_batch[1], validation.labels, batch_size(size, "keras")),
        settings,
        checkpoint,
    )
    # The notebooks ended with the weights of the last epoch, and `fit` with those of the best one.
    checkpoint.restore_last(model)
    shown = train.sample(min(SHIFT_IMAGES, len(train)), config.seed)
    inputs = backbone.preprocess(shown.batch(slice(None)), cell.value_range)
    return CellResult(
        cell, history, statistics_shift(base, inputs, settings.batch_size), checkpoint
    )


def _by_batch(features: keras.Model, images: Images) -> Callable[[NDArray[np.int64]], Any]:
    """Return a function from positions to features (n, 2048) by the statistics of that batch."""
    seen = tf.function(lambda some: features(some, training=True), autograph=False)
    traced = seen.get_concrete_function(tf.TensorSpec((None, *features.input_shape[1:]), tf.uint8))
    return lambda which: traced(tf.constant(images.batch(which))).numpy()


def _checkpoint(root: Path, config: DiagnoseConfig, images: Images, cell: Cell) -> Checkpoint:
    name = f"{cell.freeze}-{cell.value_range}-{cell.statistics.replace(' ', '-')}"
    # A checkpoint only fits the same params, weights and images.
    files = [root / paths.WEIGHTS / weights.WEIGHTS_FILE, images.path]
    return open_checkpoint(root, f"diagnose-{name}", config.dump(), files, package="findings")
