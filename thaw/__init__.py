"""thaw: how much of an ImageNet ResNet50 should you thaw to classify Fashion-MNIST?"""

import os
import platform

# TensorFlow reads these once, when it is first imported, so they are set before any module of
# this package can import it. oneDNN's kernels round differently from Eigen's: which of the two
# runs is part of the result, and may not hang on the user's shell.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
# Level 3 also drops the start-up notices about GPUs that are not there; Python errors remain.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# NumPy's and SciPy's OpenBLAS reads this when it is loaded. It would take the processor's own
# kernels, or the shell's choice, and the linear classifier's last digits with them.
if platform.machine() in ("x86_64", "AMD64"):
    os.environ["OPENBLAS_CORETYPE"] = "Haswell"


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """
