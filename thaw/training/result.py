"""The result of a training in any mode, and the loop over its seeds."""

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import keras

from thaw.config.stages import FineTuneConfig, TrainFrozenConfig
from thaw.network.predictions import Predictions
from thaw.network.weights import Source
from thaw.training.checkpoint import Checkpoint
from thaw.training.history import History

Config = TypeVar("Config", TrainFrozenConfig, FineTuneConfig)


@dataclass(frozen=True)
class TrainingResult:
    """A fitted model, and everything that is reported about it.

    Attributes:
        model: the whole classifier, with the weights of its best epoch.
        history: loss and accuracy of each epoch.
        predictions: the model's predictions on each split.
        source: where the backbone's weights came from.
        seed: the seed of this training.
        layers_frozen: how many of the backbone's first layers did not train.
        frozen_through: the stage of ResNet50 in which the frozen layers end: conv1 to conv5, or
            none.
        macs: multiply-accumulate operations of the backbone's convolutions in the whole training.
        checkpoint: the saved state, which is to be cleared after the results have been written.
        head_warmup_epochs: epochs in which only the head was trained, before the backbone.

    """

    model: keras.Model
    history: History
    predictions: Mapping[str, Predictions]
    source: Source
    seed: int
    layers_frozen: int
    frozen_through: str
    macs: int
    checkpoint: Checkpoint
    head_warmup_epochs: int = 0


def each_seed(
    train: Callable[[Config], TrainingResult], config: Config, seeds: int
) -> Iterator[TrainingResult]:
    """Train with `seeds` consecutive seeds, from `config.seed` on, and yield each result."""
    for seed in range(config.seed, config.seed + seeds):
        if seeds > 1:
            print(f"seed {seed}", flush=True)
        yield train(config.model_copy(update={"seed": seed}))
        # Keras' objects refer to one another in cycles. Only the garbage collector frees them, and
        # with them the images or features of the run.
        gc.collect()
