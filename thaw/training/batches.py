"""Batches of inputs and labels, whose order depends only on the seed and the epoch."""

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
    """Inputs and labels, batch by batch, in an order that depends only on the seed and the epoch.

    So a resumed run sees the same batches as an uninterrupted one. The last batch of an epoch may
    be smaller.

    Args:
        load_batch: returns the inputs at the given positions, as an array or a tuple of arrays.
        labels: (n,) int64.
        batch_size: images in a batch.
        seed: for the order in every epoch; None keeps the order of the labels.
        augment: changes each batch at random, as the seed, the epoch and the batch decide.
        accumulation_steps: how many micro-batches each batch is divided into. Their sizes differ
            by at most one image. The optimizer steps after the last one. If there is more than
            one, a smaller last batch is left out, because its micro-batches would have too few
            images for batch normalisation.

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
        """Batches in an epoch, and so steps of the optimizer."""
        whole, left = divmod(len(self.labels), self.batch_size)
        return whole + (left > 0 and self.accumulation_steps == 1)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        batch, micro = divmod(index, self.accumulation_steps)
        which = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        # array_split allows sizes that differ by one.
        which = np.array_split(which, self.accumulation_steps)[micro]
        inputs = self.load_batch(which)
        if self.augment:
            inputs = self.augment(
                inputs, np.random.default_rng([self.seed or 0, self.epoch, index])
            )
        return inputs, self.labels[which]

    def start_epoch(self, epoch: int) -> None:
        """Set the order for `epoch`, counted from 0."""
        self.epoch = epoch
        self.order = np.arange(len(self.labels))
        if self.seed is not None:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.order)

    def to_dataset(self) -> tf.data.Dataset:
        """Return a dataset that yields the current epoch's batches each time it is iterated over.

        TensorFlow never frees a generator, so the dataset holds only a weak reference to this
        object. Keep this object alive for as long as the dataset is used.
        """
        weak = weakref.proxy(self)
        # The first batch tells the shapes and dtypes. Only the size of a batch may vary.
        signature = keras.tree.map_structure(
            lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), self[0]
        )
        each = tf.data.Dataset.from_generator(
            lambda: Batches._each(weak), output_signature=signature
        )
        # Without the cardinality Keras would learn the number of steps only in the first epoch.
        return _made_ahead(each.apply(tf.data.experimental.assert_cardinality(len(self))))

    def _each(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        try:
            for index in range(len(self)):
                yield self[index]
        except Exception as error:
            self.failure = error  # for `plain_errors`
            raise


@contextmanager
def plain_errors(*read: Batches) -> Iterator[None]:
    """Raise the original error of reading a batch, of which TensorFlow keeps only the text."""
    try:
        yield
    except tf.errors.OpError as error:
        for batches in read:
            if batches.failure:
                raise batches.failure from error
        raise


class ArrayBatches(Batches):
    """The same batches, from inputs in memory, gathered by TensorFlow instead of Python.

    A step of the head is short: gathering its batch in Python would take a quarter as long.

    Args:
        inputs: (n, ..) float32.
        labels: (n,) int64.
        batch_size: images in a batch.
        seed: for the order in every epoch; None keeps the order of the labels.

    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        labels: NDArray[np.int64],
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        with tf.device(MAIN_MEMORY):
            # A variable, because a new epoch must change the order in the existing dataset.
            self.shared_order = tf.Variable(np.arange(len(labels)), trainable=False)
        inputs = aligned(inputs)
        super().__init__(inputs.__getitem__, labels, batch_size, seed)
        self.inputs = shared(inputs)

    def start_epoch(self, epoch: int) -> None:
        """Set the order for `epoch`, counted from 0."""
        super().start_epoch(epoch)
        self.shared_order.assign(self.order)

    def to_dataset(self) -> tf.data.Dataset:
        """Return a dataset that uses the current epoch's order each time it is iterated over.

        It calls no Python function: TensorFlow would never free one, nor the inputs it refers to.
        """
        inputs, labels, order = self.inputs, tf.constant(self.labels), self.shared_order

        def pick(places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            which = tf.gather(order, places)
            return tf.gather(inputs.read_value(), which), tf.gather(labels, which)

        places = tf.data.Dataset.range(len(self.labels)).batch(self.batch_size)
        return _made_ahead(places.map(pick))


def _made_ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with the next two batches prepared while the current one is used.

    This turns off TensorFlow's autotuning, which has nothing to tune here. Its thread sleeps for
    10 ms, then twice as long each time, up to a minute. Now and then it misses the signal to end
    (`Model::OptimizeLoop` in TensorFlow's core/framework/model.cc), and the epoch waits until the
    thread wakes. An epoch of 26 seconds once took 41.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)
