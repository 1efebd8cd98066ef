"""What decides results besides params.yaml, where a process can set it: seeds, types, threads.

thaw.support.environment settles what libraries take from the shell, before they are imported, and
thaw.support.versions holds versions to the lock. The kernels still follow the processor, and round
as it does.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from thaw.support.environment import keras_home
from thaw.support.keras_private import set_keras_home

# Keras has read no keras.json. A notebook that uses it beside thaw has its folder back.
set_keras_home(keras_home())


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and Keras.

    thaw gives whatever draws a seed of its own. This is for what a library draws unasked.
    """
    keras.utils.set_random_seed(seed)


def set_up(threads: int, precision: str = "float32") -> None:
    """Let what follows depend on `threads` and `precision`, and on no setting of the user's.

    Call it once a process, before any tensor is made: TensorFlow does not change its thread pools
    later.

    Args:
        threads: that TensorFlow uses.
        precision: one of params.yaml's, in which layers compute that are made from now on.

    """
    _set_defaults("float32", precision, 1e-7, "channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


@contextmanager
def plain_keras() -> Iterator[None]:
    """Let layers that are made within be float32, channels last, whatever the caller's Keras has.

    For models that are used elsewhere: a notebook's `set_dtype_policy("mixed_float16")`, or a
    keras.json, would change what they predict. What was set before is set again.
    """
    config = keras.config
    before = config.floatx(), config.dtype_policy(), config.epsilon(), config.image_data_format()
    _set_defaults("float32", "float32", 1e-7, "channels_last")
    try:
        yield
    finally:
        _set_defaults(*before)


def _set_defaults(
    floatx: str, policy: str | keras.DTypePolicy, epsilon: float, data_format: str
) -> None:
    """Set what Keras makes layers with from now on."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(data_format)
