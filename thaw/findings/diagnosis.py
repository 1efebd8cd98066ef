"""The notebooks' mistakes, switched on and off one by one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from thaw.config.fields import BACKBONE_LAYERS, FROZEN_BATCH_NORMS, VALUE_RANGES
from thaw.config.stages import DiagnoseConfig
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
        value_range: of the pixels that `preprocess_input` is given, 0-255 or 0-1.
        frozen_batch_norm: the mode in which frozen batch normalisation trains: inference or
            training.
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


@dataclass(frozen=True)
class CellResult:
    """What a cell gave.

    Attributes:
        cell: which one it was.
        history: of its training.
        shifts: by batch normalisation layer, how far the statistics that training used are from
            those that validation used: see `statistics_shift`.
        checkpoint: its checkpoint, to be cleared once the results are written.

    """

    cell: Cell
    history: History
    shifts: dict[str, float]
    checkpoint: Checkpoint

    @property
    def row(self) -> CellRow:
        """What is reported of it: the last epoch, which is what the notebooks showed."""
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

    At most 0.98: with so many steps that Keras' 0.99 fits, something quicker stands beside it.
    """
    return min(round(LEFT_AFTER_AN_EPOCH ** (1 / steps), 2), 0.98)


def cells(frozen: Sequence[int], steps: int) -> Iterator[Cell]:
    """Yield every combination, for each number of frozen layers.

    Where layers are frozen: value range x what their batch normalisation trains on, with Keras'
    momentum for the others, as in the notebooks. Where none is: value range x momentum.

    Args:
        frozen: numbers of layers.
        steps: of training in an epoch.

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
    """Train the notebook's head in each cell.

    Returns:
        What each cell gave, and the metrics: the set-up, each cell's row, and by value range how
        much the pictures still vary, as the standard deviation (of 0..255 levels) of what
        `preprocess_input` returns.

    """
    set_up(config.threads)
    settings = config.diagnose
    base = weights.resnet50(config.image_size, top=False)
    frozen = [backbone.freeze_count(base, freeze) for freeze in settings.freeze]
    train, validation = _sample(root, config)
    results = []
    for cell in cells(frozen, steps=-(-settings.images // settings.batch_size)):
        statistics = statistics_in_words(cell.statistics)
        print(f"cell: {cell.freeze} layers frozen, {cell.value_range} input, {statistics}")
        results.append(_fit_cell(root, config, train, validation, cell))
    return results, {
        "weights": weights.load_source(root / paths.WEIGHTS).name,
        "train_images": settings.images,
        "validation_images": settings.validation_images,
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
        open_images(root / paths.IMAGES, config.image_size, part).sample(count, config.seed)
        for part, count in counts.items()
    )
    return train, validation


def _deviation(images: Images, value_range: str) -> float:
    """Return the standard deviation over pixels of what reaches ResNet50, averaged over images."""
    pixels = images.batch(slice(0, DEVIATION_IMAGES))
    seen = ops.convert_to_numpy(backbone.preprocess(pixels, value_range))
    return float(seen.std(axis=(1, 2)).mean(dtype=np.float64))


def _fit_cell(
    root: Path, config: DiagnoseConfig, train: Images, validation: Images, cell: Cell
) -> CellResult:
    """Train one cell, every one from the same seed."""
    settings, size = config.diagnose, config.image_size
    checkpoint = _checkpoint(root, config, train, cell)
    seed_everything(config.seed)
    base = backbone.for_training(weights.resnet50(size, top=False))
    weights.load(root / paths.WEIGHTS, base)
    backbone.freeze_first(base, cell.freeze)
    backbone.set_batch_norm_momentum(base, cell.momentum)
    head = build_head(settings.head, config.seed)
    if cell.freeze == BACKBONE_LAYERS and cell.frozen_batch_norm == "inference":
        model = head  # features do not change: one pass over the images is enough
        features = backbone.image_model(base, size, cell.value_range)
        load_batch: list[Any] = [
            predict(features, some).__getitem__ for some in (train, validation)
        ]
    else:
        if cell.frozen_batch_norm == "training":
            base = backbone.with_batch_statistics(base)
        model = backbone.image_model(base, size, cell.value_range, head)
        load_batch = [some.batch for some in (train, validation)]
    history = fit(
        model,
        Batches(load_batch[0], train.labels, settings.batch_size, config.seed),
        Batches(load_batch[1], validation.labels, batch_size(size, "keras")),
        settings,
        checkpoint,
    )
    checkpoint.restore_last(
        model
    )  # the last epoch's weights, not the best's: as the notebooks had them
    shown = train.sample(min(SHIFT_IMAGES, len(train)), config.seed)
    inputs = backbone.preprocess(shown.batch(slice(None)), cell.value_range)
    return CellResult(
        cell, history, statistics_shift(base, inputs, settings.batch_size), checkpoint
    )


def _checkpoint(root: Path, config: DiagnoseConfig, images: Images, cell: Cell) -> Checkpoint:
    name = f"{cell.freeze}-{cell.value_range}-{cell.statistics.replace(' ', '-')}"
    files = [root / paths.WEIGHTS / weights.WEIGHTS_FILE, images.path]
    return open_checkpoint(root, f"diagnose-{name}", config.dump(), files, package="findings")
