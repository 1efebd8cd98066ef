"""Seeding, compiling and fitting; an interrupted fit goes on where it stopped."""

import math
import os
import sys
from collections.abc import Callable, Iterator

import keras
import numpy as np

from thaw.config.fields import CLASSES
from thaw.config.params import Fit, HeadWarmup
from thaw.network import faster
from thaw.support.errors import ThawError
from thaw.support.stage import GOING_ON, QUIET
from thaw.training.batches import Batches, plain_errors
from thaw.training.checkpoint import Checkpoint, uncompiled
from thaw.training.history import HISTORY_COLUMNS, History

HEAD_STEPS = 32
"""Steps of a head alone that TensorFlow takes in one go: each is so short that what Keras does
around it counts. A backbone's are long enough."""


def seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make an epoch's dropout masks depend on the seed and the epoch alone.

    Keras does not save the state of a layer's random generator, so a resumed run would draw other
    masks.
    """
    layers = [layer for layer in _layers(model) if isinstance(layer, keras.layers.Dropout)]
    for i, layer in enumerate(layer for layer in layers if layer.rate > 0):
        state = np.random.default_rng([seed, epoch, i]).integers(1 << 32, size=2, dtype=np.uint32)
        layer.seed_generator.state.assign(state)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models in it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


class _SeedEachEpoch(keras.callbacks.Callback):
    """Orders each epoch's batches and seeds its dropout."""

    def __init__(self, train: Batches) -> None:
        super().__init__()
        self.train = train

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.train.start_epoch(epoch)
        seed_dropout(self.model, self.train.seed or 0, epoch)


class _SaveEachEpoch(keras.callbacks.Callback):
    """Keeps history and checkpoint, and knows when to stop."""

    def __init__(
        self, training: Fit, patience: int, history: History, checkpoint: Checkpoint
    ) -> None:
        super().__init__()
        self.training, self.patience = training, patience
        self.history, self.checkpoint = history, checkpoint

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        values = {name: float((logs or {})[name]) for name in HISTORY_COLUMNS[1:]}
        row = {"epoch": epoch + 1, **values}
        if not all(math.isfinite(value) for value in row.values()):
            raise ThawError(
                f"training diverged in epoch {epoch + 1}: {row}. The learning rate is too high for "
                f"these weights. Received: learning_rate {self.training.learning_rate}. Try a "
                "tenth of it."
            )
        self.history.rows.append(row)
        self.checkpoint.save(self.model, self.history)
        if self.history.is_over(self.training.epochs, self.patience):
            self.model.stop_training = True


def fit(
    model: keras.Model,
    train: Batches,
    validation: Batches,
    training: Fit,
    checkpoint: Checkpoint,
    patience: int = 0,
    optimizer: keras.optimizers.Optimizer | None = None,
    label_smoothing: float = 0.0,
    steps_per_execution: int = 1,
) -> History:
    """Fit `model` on the cross-entropy, and leave it with its best epoch's weights.

    The best epoch is the one with the lowest validation loss. A run that was interrupted goes on
    after its last whole epoch, from `checkpoint`, and ends with the same weights as a run without
    interruption. Where the checkpoint is damaged, the training starts over.

    Args:
        model: from inputs to probabilities (n, 10).
        train: what it is fitted on.
        validation: what its epochs are compared on.
        training: how long and how fast.
        checkpoint: the state of an interrupted run, and of this one.
        patience: epochs without a lower validation loss before it ends; 0 = never.
        optimizer: Adam at `training.learning_rate` where it is None.
        label_smoothing: see `cross_entropy`.
        steps_per_execution: see `keras.Model.compile`; `HEAD_STEPS` for a head.

    Returns:
        The loss (nats, penalties included) and accuracy of each epoch on train, as the epoch went,
        and on validation, at its end.

    Raises:
        ThawError: the loss is not finite, or the state was damaged after the fit had begun.
        Exception: whatever reading a batch raises.

    """
    optimizer = optimizer or faster.Adam(training.learning_rate)
    compile_model(model, optimizer, label_smoothing, steps_per_execution)
    history = checkpoint.resume(model)
    if history.epochs:
        print(f"{GOING_ON} {history.epochs} of {training.epochs}", flush=True)
    if not history.is_over(training.epochs, patience):
        with plain_errors(train, validation):
            model.fit(
                train.to_dataset(),
                validation_data=validation.to_dataset(),
                initial_epoch=history.epochs,
                epochs=training.epochs,
                callbacks=[
                    _SeedEachEpoch(train),
                    _SaveEachEpoch(training, patience, history, checkpoint),
                ],
                shuffle=False,  # Batches does
                verbose=_verbosity(),
            )
    checkpoint.restore_best(model)
    return history


def warm_up_head(head: keras.Model, features: Batches, start: HeadWarmup) -> float:
    """Fit the head alone, before the backbone thaws (LP-FT: Kumar et al. 2022).

    Returns:
        Its last epoch's loss (nats, penalties included).

    Raises:
        ThawError: that is not finite.

    """
    alone = uncompiled(head)  # or the whole network's file would hold this optimizer, too
    compile_model(alone, faster.Adam(start.learning_rate), steps_per_execution=HEAD_STEPS)
    history = alone.fit(
        features.to_dataset(),
        epochs=start.epochs,
        callbacks=[_SeedEachEpoch(features)],
        shuffle=False,
        verbose=0,
    )
    loss = float(history.history["loss"][-1])
    if not math.isfinite(loss):
        raise ThawError(
            f"the head warm-up diverged: its loss is {loss}. Received: head_warmup.learning_rate "
            f"{start.learning_rate}. Try a tenth of it."
        )
    return loss


Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def cross_entropy(label_smoothing: float) -> str | Loss:
    """Return the loss of labels (n,) and probabilities (n, 10), in nats.

    Smoothed (Szegedy et al. 2016), the right class is asked for with probability
    1 - 0.9 `label_smoothing`, every other with a tenth of it. Keras smooths one-hot labels only.
    """
    if not label_smoothing:
        return "sparse_categorical_crossentropy"

    def smoothed(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        right = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), CLASSES)
        return keras.losses.categorical_crossentropy(
            right, probabilities, label_smoothing=label_smoothing
        )

    return smoothed


def compile_model(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    label_smoothing: float = 0.0,
    steps_per_execution: int = 1,
) -> None:
    """Compile `model` as `fit` does, whose docstring says what the arguments are."""
    model.compile(
        optimizer=optimizer,
        loss=cross_entropy(label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        jit_compile=False,  # XLA makes ResNet50 three to four times slower on a CPU at 32 px
    )


def _verbosity() -> int:
    """Return Keras' progress bar on a terminal, one line an epoch elsewhere, none where quiet."""
    if os.environ.get(QUIET):
        return 0
    return 1 if sys.stdout.isatty() else 2
