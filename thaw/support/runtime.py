"""What decides results besides params.yaml, where a process can set it: seeds, types, threads.

thaw.support.environment settles what libraries take from the shell, before they are imported, and
thaw.support.versions holds versions to the lock. The kernels still follow the processor, and round
as it does.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf
from keras.src.backend import config as keras_config

from thaw.support.environment import keras_home

# Keras has read no keras.json. A notebook that uses it beside thaw has its folder back.
keras_config._KERAS_DIR = str(keras_home())


def configure(seed: int, threads: int, precision: str = "float32") -> None:
    """Make what follows depend on `seed` and `threads`, and on no setting of the user's.

    `precision`, one of params.yaml's, is what layers made from now on compute in. Seeds Python,
    NumPy and Keras, and sets what the user's keras.json could change. Call it once, before
    any tensor is made: TensorFlow does not change its thread pools later.
    """
    keras.utils.set_random_seed(seed)
    _build("float32", precision, 1e-7, "channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


@contextmanager
def plain_keras() -> Iterator[None]:
    """Let layers that are made within be float32, channels last, whatever the caller's Keras has.

    For models that are used elsewhere: a notebook's `set_dtype_policy("mixed_float16")`, or a
    keras.json, would change their answers. What was set before is set again.
    """
    config = keras.config
    before = config.floatx(), config.dtype_policy(), config.epsilon(), config.image_data_format()
    _build("float32", "float32", 1e-7, "channels_last")
    try:
        yield
    finally:
        _build(*before)


def _build(floatx: str, policy: str | keras.DTypePolicy, epsilon: float, data_format: str) -> None:
    """Set what Keras makes layers with from now on."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(data_format)
