"""Arrays in memory that NumPy and TensorFlow share.

Features of many images are too large for copies.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes. A tensor's memory begins at a multiple; NumPy's need not."""
MAIN_MEMORY = "CPU:0"
"""Where tf.data works, whatever device trains: it takes no variable of a GPU's."""


def aligned_empty(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return a float32 array whose memory TensorFlow can share; its values are not set."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(shape)


def aligned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `values`, or a copy where TensorFlow cannot share their memory."""
    if values.ctypes.data % ALIGNMENT == 0 and values.flags.carray:
        return values
    copy = aligned_empty(values.shape)
    copy[...] = values
    return copy


def shared(values: NDArray[np.float32]) -> tf.Variable:
    """Return a variable in the memory of `values`, which must be `aligned` and not change after.

    Of a tensor, tf.data would make a copy; TensorFlow ends the process on values not aligned.
    """
    tensor = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    with tf.device(MAIN_MEMORY):
        return tf.Variable(tensor, trainable=False)
