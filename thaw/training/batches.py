"""Batches of inputs and labels, in an order that only the seed and the epoch decide."""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from thaw.network.shared_memory import MAIN_MEMORY, aligned, shared
from thaw.training.augmentation import Augmentation


class Batches:
    """Inputs and labels, batch by batch, in an order that only the seed and the epoch decide.

    So an interrupted run sees the batches that it would have seen. The last batch of an epoch may
    be smaller.

    Args:
        load_batch: returns the inputs at given positions, an array or a tuple of arrays.
        labels: (n,) int64.
        batch_size: images in a batch.
        seed: of the order of every epoch; None keeps the order of the labels.
        augment: changes each batch at random. Seed, epoch and batch decide how.
        accumulation_steps: micro-batches that each batch is divided into, of equal size but for
            one image. The optimizer steps after the last one. From 2 on, a smaller last batch is
            left out: its micro-batches would be too few images for batch normalisation.

    """

    def __init__(
        self,
        load_batch: Callable[[NDArray[np.int64]], Any],
        labels: NDArray[np.int64],
        batch_size: int,
        seed: int | None = None,
        augment: Augmentation | None = None,
        accumulation_steps: int = 1,
    ) -> None:
        self.load_batch, self.labels, self.batch_size = load_batch, labels, batch_size
        self.seed, self.augment = seed, augment
        self.accumulation_steps = accumulation_steps
        self.failure: Exception | None = None
        self.start_epoch(0)

    def __len__(self) -> int:
        return self.accumulation_steps * self.steps

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        whole, left = divmod(len(self.labels), self.batch_size)
        return whole + (left > 0 and self.accumulation_steps == 1)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        batch, micro = divmod(index, self.accumulation_steps)
        which = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        which = np.array_split(which, self.accumulation_steps)[micro]
        inputs = self.load_batch(which)
        if self.augment:
            inputs = self.augment(
                inputs, np.random.default_rng([self.seed or 0, self.epoch, index])
            )
        return inputs, self.labels[which]

    def start_epoch(self, epoch: int) -> None:
        """Take the order of `epoch`, counted from 0."""
        self.epoch = epoch
        self.order = np.arange(len(self.labels))
        if self.seed is not None:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.order)

    def to_dataset(self) -> tf.data.Dataset:
        """Return a dataset that yields the epoch's batches, each time it is iterated over.

        It does not keep this object alive, because TensorFlow never frees a generator: keep this
        object as long as the dataset is used.
        """
        weak = weakref.proxy(self)
        signature = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), self[0]
        )
        each = tf.data.Dataset.from_generator(
            lambda: Batches._each(weak), output_signature=signature
        )
        return _made_ahead(each.apply(tf.data.experimental.assert_cardinality(len(self))))

    def _each(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        try:
            for index in range(len(self)):
                yield self[index]
        except Exception as error:
            self.failure = error
            raise


@contextmanager
def plain_errors(*read: Batches) -> Iterator[None]:
    """Raise what reading a batch raised. TensorFlow turns it into a text."""
    try:
        yield
    except tf.errors.OpError as error:
        for batches in read:
            if batches.failure:
                raise batches.failure from error
        raise


class ArrayBatches(Batches):
    """The same batches of inputs in memory, picked out by TensorFlow.

    A head's step is so short that picking out its batch in Python takes a quarter as long.

    Args:
        inputs: (n, ..) float32.
        labels: (n,) int64.
        batch_size: images in a batch.
        seed: of the order of every epoch; None keeps the order of the labels.

    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        labels: NDArray[np.int64],
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        with tf.device(MAIN_MEMORY):
            self.shared_order = tf.Variable(np.arange(len(labels)), trainable=False)
        inputs = aligned(inputs)
        super().__init__(inputs.__getitem__, labels, batch_size, seed)
        self.inputs = shared(inputs)

    def start_epoch(self, epoch: int) -> None:
        """Take the order of `epoch`, counted from 0."""
        super().start_epoch(epoch)
        self.shared_order.assign(self.order)

    def to_dataset(self) -> tf.data.Dataset:
        """Return a dataset that takes the epoch's order anew whenever it begins.

        It calls no Python: TensorFlow never frees what it calls, here with all inputs.
        """
        inputs, labels, order = self.inputs, tf.constant(self.labels), self.shared_order

        def pick(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            which = tf.gather(order, places)
            return tf.gather(inputs.read_value(), which), tf.gather(labels, which)

        places = tf.data.Dataset.range(len(self.labels)).batch(self.batch_size)
        return _made_ahead(places.map(pick))


def _made_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with its next batches made while one is learnt from.

    TensorFlow's autotuning is off, which Keras leaves on: it has nothing to tune here, and its
    thread sleeps 10 ms, then twice as long each time, up to a minute. Now and then it misses the
    call to end (`Model::OptimizeLoop` of TensorFlow's core/framework/model.cc), and the epoch waits
    until it wakes: one of 26 seconds took 41.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)
