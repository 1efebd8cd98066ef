"""Adam, and the rates that it takes."""

import keras
import tensorflow as tf
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from thaw.config.fields import BLOCKS_PER_STAGE
from thaw.config.params import BackboneTraining


class Adam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015) in one pass over the weights.

    Keras' own makes a pass for each of its dozen operations, which a CPU spends waiting for memory.
    TensorFlow's kernel computes the same, to rounding. Neither weight decay nor AMSGrad: nothing
    here asks for them.
    """

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: keras.KerasTensor
    ) -> None:
        """Move `variable` against its `gradient`, of the same shape."""
        kind = variable.dtype
        beta_1, beta_2 = (ops.cast(beta, kind) for beta in (self.beta_1, self.beta_2))
        step = ops.cast(self.iterations + 1, kind)
        index = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.power(beta_1, step),
            beta2_power=ops.power(beta_2, step),
            lr=ops.cast(learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=ops.cast(self.epsilon, kind),
            grad=gradient,
        )


def rate_schedule(
    training: BackboneTraining, steps: int, share: float = 1.0
) -> float | LearningRateSchedule:
    """Return a rate: constant, or rising over the warm-up and falling to 0 along a cosine.

    Args:
        training: how the model is fitted.
        steps: in an epoch.
        share: of `training.learning_rate`.

    """
    rate = share * training.learning_rate
    if training.schedule == "constant":
        return rate
    warmup = steps * min(training.warmup_epochs, training.epochs - 1)
    falling = steps * training.epochs - warmup
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, falling)
    return keras.optimizers.schedules.CosineDecay(
        0.0, falling, warmup_target=rate, warmup_steps=warmup
    )


class _EveryFew(LearningRateSchedule):
    """A schedule that goes on by a step while the optimizer is given the `parts` of a batch.

    Keras counts every gradient that it accumulates as a step of the schedule.
    """

    def __init__(self, schedule: LearningRateSchedule, parts: int) -> None:
        self.schedule, self.parts = schedule, parts

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self.schedule(step // self.parts)


def _adam(rate: float | LearningRateSchedule, parts: int) -> Adam:
    """Return Adam, which steps by the mean gradient of `parts`."""
    if parts == 1:
        return Adam(rate)
    if isinstance(rate, LearningRateSchedule):
        rate = _EveryFew(rate, parts)
    return Adam(rate, gradient_accumulation_steps=parts)


def optimizer(training: BackboneTraining, steps: int, parts: int = 1) -> keras.optimizers.Optimizer:
    """Return Adam, its rate the lower the earlier a layer stands (Howard & Ruder 2018).

    Each of ResNet50's stages, conv5 to conv1, learns at `layer_decay` times the rate of what comes
    after it; the head at `learning_rate`.

    Args:
        training: how the model is fitted.
        steps: in an epoch.
        parts: of a batch, whose mean gradient makes a step.

    """
    adam = _adam(rate_schedule(training, steps), parts)
    if training.layer_decay == 1:
        return adam
    by_variable = keras.optimizers.OptimizerMap(adam)
    for depth, stage in enumerate(reversed(("conv1", *BLOCKS_PER_STAGE)), 1):
        rate = rate_schedule(training, steps, training.layer_decay**depth)
        by_variable[rf"(.*/)?{stage}_.*"] = _adam(rate, parts)
    return keras.optimizers.MultiOptimizer(by_variable)
