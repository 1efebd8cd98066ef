"""Process-wide settings that affect results: seeds, types, threads.

thaw.support.environment handles environment variables before libraries are imported, and
thaw.support.versions compares the installed versions with the lock. Libraries also choose their
kernels by the processor, and these round differently: `set_up` can hold them to AVX2.
"""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from thaw.support.environment import X86, keras_home
from thaw.support.errors import ThawError
from thaw.support.keras_private import set_keras_home

# Keras was imported without its folder, so that it read no keras.json. Give the folder back: a
# notebook may use Keras' downloads too.
set_keras_home(keras_home())

HELD_TO_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "OV_CPU_MAX_ISA": "AVX2"}
"""TensorFlow and OpenVINO have a oneDNN each, which reads its variable when it first computes."""


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and Keras.

    thaw passes an explicit seed wherever it draws. This covers the draws that libraries make.
    """
    keras.utils.set_random_seed(seed)


def set_up(threads: int, instruction_set: str = "native", precision: str = "float32") -> None:
    """Set up Keras and TensorFlow, whatever the user's settings are.

    Call it once in a process, before any tensor is made: TensorFlow cannot change its thread pools
    later.

    Args:
        threads: how many threads TensorFlow uses.
        instruction_set: native, or avx2 to hold TensorFlow and OpenVINO to AVX2.
        precision: a Keras dtype policy, as in params.yaml, for the layers made from now on.

    Raises:
        ThawError: avx2 on a processor that is not x86.

    """
    if instruction_set == "avx2":
        if platform.machine() not in X86:
            raise ThawError(
                "avx2 is a set of instructions of x86 processors. Allowed here: "
                f"-S instruction_set=native. Received: {instruction_set} on {platform.machine()}"
            )
        os.environ.update(HELD_TO_AVX2)
    _set_defaults("float32", precision, 1e-7, "channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


@contextmanager
def plain_keras() -> Iterator[None]:
    """Make the layers built inside the block float32 and channels last.

    Use it for models that run in other programs. Without it, a notebook's
    `set_dtype_policy("mixed_float16")` or a keras.json would change their predictions. The caller's
    settings are restored afterwards.
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
    """Set the defaults for the layers that Keras makes from now on."""
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(data_format)
