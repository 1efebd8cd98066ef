"""Arrays in memory that NumPy and TensorFlow share.

The features of many images are too large to be copied.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes. A tensor's memory begins at a multiple of this; an array of NumPy's need not."""
MAIN_MEMORY = "CPU:0"
"""The device that tf.data runs on, even when a GPU trains. It cannot use a GPU's variables."""


def aligned_empty(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an uninitialised float32 array whose memory TensorFlow can share."""
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    # The distance from the address to the next multiple of ALIGNMENT.
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + size].view(np.float32).reshape(shape)


def aligned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `values`, or a copy of them if TensorFlow cannot share their memory."""
    # carray: writable, and contiguous in C order.
    if values.ctypes.data % ALIGNMENT == 0 and values.flags.carray:
        return values
    copy = aligned_empty(values.shape)
    copy[...] = values
    return copy


def shared(values: NDArray[np.float32]) -> tf.Variable:
    """Return a variable that shares the memory of `values`.

    Pass `values` through `aligned` first: TensorFlow aborts the process if they are not aligned.
    Do not change them afterwards. It is a variable because tf.data would copy a tensor.
    """
    tensor = tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    with tf.device(MAIN_MEMORY):
        return tf.Variable(tensor, trainable=False)
