"""Adam and its learning rates: schedules, layer decay and accumulated gradients."""

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule

from thaw.config.fields import BLOCKS_PER_STAGE
from thaw.config.params import BackboneTraining
from thaw.network import faster


def rate_schedule(
    training: BackboneTraining, steps: int, share: float = 1.0
) -> float | LearningRateSchedule:
    """Return a constant rate, or a schedule that warms up and then falls to 0 along a cosine.

    Args:
        training: how the model is fitted.
        steps: steps of the optimizer in an epoch.
        share: the factor that `training.learning_rate` is multiplied by.

    """
    rate = share * training.learning_rate
    if training.schedule == "constant":
        return rate
    # At least one epoch is left to fall in, however few epochs the run has.
    warmup = steps * min(training.warmup_epochs, training.epochs - 1)
    falling = steps * training.epochs - warmup
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, falling)
    return keras.optimizers.schedules.CosineDecay(
        0.0, falling, warmup_target=rate, warmup_steps=warmup
    )


class _StepsOfBatches(LearningRateSchedule):
    """A schedule that advances once per batch instead of once per micro-batch.

    Keras advances a schedule with every gradient that it accumulates.
    """

    def __init__(self, schedule: LearningRateSchedule, accumulation_steps: int) -> None:
        self.schedule, self.accumulation_steps = schedule, accumulation_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self.schedule(step // self.accumulation_steps)


def _adam(rate: float | LearningRateSchedule, accumulation_steps: int) -> faster.Adam:
    """Return Adam, each step of which uses the mean gradient of that many micro-batches."""
    if accumulation_steps == 1:  # Keras allows only None, or 2 and more
        return faster.Adam(rate)
    if isinstance(rate, LearningRateSchedule):
        rate = _StepsOfBatches(rate, accumulation_steps)
    return faster.Adam(rate, gradient_accumulation_steps=accumulation_steps)


def build_optimizer(
    training: BackboneTraining, steps: int, accumulation_steps: int = 1
) -> keras.optimizers.Optimizer:
    """Return Adam, with lower rates for earlier layers (Howard & Ruder 2018).

    The head learns at `learning_rate`. Each stage of ResNet50, from conv5 back to conv1, learns at
    `layer_decay` times the rate of the stage after it.

    Args:
        training: how the model is fitted.
        steps: steps of the optimizer in an epoch.
        accumulation_steps: micro-batches in a batch.

    """
    adam = _adam(rate_schedule(training, steps), accumulation_steps)
    if training.layer_decay == 1:
        return adam
    by_variable = keras.optimizers.OptimizerMap(adam)
    for depth, stage in enumerate(reversed(("conv1", *BLOCKS_PER_STAGE)), 1):
        rate = rate_schedule(training, steps, training.layer_decay**depth)
        # Matched against a variable's whole path, which may start with names of models.
        by_variable[rf"(.*/)?{stage}_.*"] = _adam(rate, accumulation_steps)
    return keras.optimizers.MultiOptimizer(by_variable)
