"""What a result hangs on besides params.yaml and a process can set: seeds, types, threads.

What libraries take from the shell, thaw.environment settles before they are imported; versions are
held to the lock by thaw.versions. The kernels still follow the processor, and round as it does.
"""

import keras
import tensorflow as tf


def configure(seed: int, threads: int, precision: str = "float32") -> None:
    """Make what follows depend on `seed` and `threads`, and on no setting of the user's.

    `precision`, one of params.yaml's, is what layers made from now on compute in. Seeds Python,
    NumPy and Keras, and sets what the user's keras.json could change. Call it once, before
    any tensor is made: TensorFlow does not change its thread pools later.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy(precision)
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
