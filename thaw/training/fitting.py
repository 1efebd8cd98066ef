"""Seeding, compiling and fitting. An interrupted fit resumes where it stopped."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.utils.class_weight import compute_class_weight

from thaw.config.params import Fit, HeadWarmup
from thaw.network import faster
from thaw.support.errors import ThawError
from thaw.support.stage import GOING_ON, QUIET
from thaw.training.batches import Batches, plain_errors
from thaw.training.checkpoint import Checkpoint, uncompiled
from thaw.training.history import HISTORY_COLUMNS, History
from thaw.training.live import LiveCurves

HEAD_STEPS = 32
"""Steps that TensorFlow takes at a time when only the head is trained.

They are so short that Keras' own work between steps would count. Steps of a backbone are longer."""


def seed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout masks of an epoch depend only on the seed and the epoch.

    Keras does not save the state of a layer's random generator, so a resumed run would otherwise
    draw different masks.
    """
    layers = [layer for layer in _layers(model) if isinstance(layer, keras.layers.Dropout)]
    # Numbered among layers that drop anything, so that each has a seed of its own.
    for i, layer in enumerate(layer for layer in layers if layer.rate > 0):
        state = np.random.default_rng([seed, epoch, i]).integers(1 << 32, size=2, dtype=np.uint32)
        layer.seed_generator.state.assign(state)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of all models nested in it, in order."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


class _SeedEachEpoch(keras.callbacks.Callback):
    """Sets the order of the batches and the seeds of dropout when an epoch begins."""

    def __init__(self, train: Batches) -> None:
        super().__init__()
        self.train = train

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.train.start_epoch(epoch)
        seed_dropout(self.model, self.train.seed or 0, epoch)


class _SaveEachEpoch(keras.callbacks.Callback):
    """Updates the history and the checkpoint after each epoch, and stops the training."""

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
        # The history first: the checkpoint contains it.
        self.history.rows.append(row)
        self.checkpoint.save(self.model, self.history)
        if self.history.is_over(self.training.epochs, self.patience):
            self.model.stop_training = True  # Keras stops when this epoch's callbacks have run


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
    class_weight: dict[int, float] | None = None,
    live: LiveCurves | None = None,
) -> History:
    """Fit `model` on the cross-entropy, and leave it with the weights of its best epoch.

    The best epoch is the one with the lowest validation loss. An interrupted run resumes from
    `checkpoint` after its last complete epoch, and ends with the same weights as a run without
    interruption. If the checkpoint is damaged, the training starts over.

    Args:
        model: from inputs to probabilities (n, classes).
        train: the batches to fit on.
        validation: the batches that decide which epoch is best.
        training: the number of epochs and the learning rate.
        checkpoint: where the state is saved after each epoch, and read if a run was interrupted.
        patience: stop after this many epochs without a lower validation loss; 0 means never.
        optimizer: the default is Adam at `training.learning_rate`.
        label_smoothing: see `cross_entropy`.
        steps_per_execution: see `keras.Model.compile`; `HEAD_STEPS` for a head.
        class_weight: see `keras.Model.fit` and `class_weights`.
        live: where the curves are shown while the fit runs; None for nowhere.

    Returns:
        The loss (nats, penalties included) and accuracy of each epoch: on train, averaged while
        the weights change, and on validation, at the end of the epoch.

    Raises:
        ThawError: the loss is not finite, or the checkpoint was damaged during the fit.
        Exception: any error that reading a batch raises.

    """
    optimizer = optimizer or faster.Adam(training.learning_rate)
    compile_model(model, optimizer, label_smoothing, steps_per_execution)
    history = checkpoint.resume(model)  # after compiling, because it restores the optimizer too
    if history.epochs:
        print(f"{GOING_ON} {history.epochs} of {training.epochs}", flush=True)
    callbacks = [_SeedEachEpoch(train), _SaveEachEpoch(training, patience, history, checkpoint)]
    shown = live.shown(history.rows) if live else nullcontext()
    with shown, plain_errors(train, validation):
        if not history.is_over(training.epochs, patience):
            model.fit(
                train.to_dataset(),
                validation_data=validation.to_dataset(),
                initial_epoch=history.epochs,
                epochs=training.epochs,
                callbacks=[*callbacks, live] if live else callbacks,
                class_weight=class_weight,
                shuffle=False,  # Batches shuffles
                verbose=_verbosity(),
            )
    # The best epoch is often not the last one, so its weights come from the file.
    checkpoint.restore_best(model)
    return history


def warm_up_head(head: keras.Model, features: Batches, start: HeadWarmup) -> float:
    """Fit only the head, before the backbone is trained too (LP-FT: Kumar et al. 2022).

    Returns:
        The loss of the last epoch (nats, penalties included).

    Raises:
        ThawError: this loss is not finite.

    """
    alone = uncompiled(head)  # otherwise the file of the whole network would hold this optimizer
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


def class_weights(labels: NDArray[np.int64], class_weight: str) -> dict[int, float] | None:
    """Return the weight of each class in the loss, for `keras.Model.fit`; None if all are equal.

    Args:
        labels: (n,) int64, of the training images.
        class_weight: `none`, or `balanced`: n / (classes * images of the class), so that each class
            counts as much as every other (King & Zeng 2001; scikit-learn's formula).

    """
    if class_weight == "none":
        return None
    classes = np.unique(labels)
    weights = compute_class_weight("balanced", classes=classes, y=labels)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


Loss = Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]


def cross_entropy(label_smoothing: float) -> str | Loss:
    """Return the loss of labels (n,) and probabilities (n, classes), in nats.

    With smoothing (Szegedy et al. 2016), `label_smoothing` of the target probability is spread
    evenly over all classes, the true one included. Keras can smooth only one-hot labels.
    """
    if not label_smoothing:
        return "sparse_categorical_crossentropy"

    def smoothed(labels: keras.KerasTensor, probabilities: keras.KerasTensor) -> keras.KerasTensor:
        right = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), probabilities.shape[-1])
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
    """Compile `model` for `fit`, whose docstring explains the arguments."""
    model.compile(
        optimizer=optimizer,
        loss=cross_entropy(label_smoothing),
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
        jit_compile=False,  # with XLA, ResNet50 at 32 px takes 3 to 4 times as long on a CPU
    )


def _verbosity() -> int:
    """Return Keras' `verbose`: a progress bar on a terminal, one line per epoch elsewhere.

    Keras prints nothing if the environment variable THAW_QUIET is set.
    """
    if os.environ.get(QUIET):
        return 0
    return 1 if sys.stdout.isatty() else 2
