"""thaw: how much of an ImageNet ResNet50 should you thaw to classify Fashion-MNIST?"""

import os
import sys

from thaw.environment import settle
from thaw.parent import watch

# Before any module of this package can import what reads them.
settle()

# Before the libraries are loaded: that takes seconds, in which dvc may end.
if "DVC_STAGE" in os.environ:
    watch()

USERS_KERAS_HOME = "THAW_KERAS_HOME"
"""Environment variable with the folder of the user's that Keras keeps weights in."""
# While it is imported, Keras reads keras.json in its folder, and ends in a traceback over one that
# it does not understand. So it is told of a folder that cannot be there, and the programs that this
# one starts learn of the user's in another variable.
if os.environ.get("KERAS_HOME") != os.devnull:
    os.environ[USERS_KERAS_HOME] = os.environ.get("KERAS_HOME") or "~/.keras"
    os.environ["KERAS_HOME"] = os.devnull

if sys.flags.optimize > 1:
    sys.exit(
        "error: TensorFlow and scikit-image do not load without docstrings. Received: python -OO, "
        "or PYTHONOPTIMIZE=2 in the environment. Leave it out, or take -O."
    )


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """
