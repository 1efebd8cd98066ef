"""thaw: how much of an ImageNet ResNet50 should you thaw to classify Fashion-MNIST?"""

import os
import sys

from thaw.environment import hide_keras_home, settle
from thaw.parent import watch

# Before any module of this package can import what reads them.
settle()
hide_keras_home()

# Before the libraries are loaded: that takes seconds, in which dvc may end.
if "DVC_STAGE" in os.environ:
    watch()

if sys.flags.optimize > 1:
    sys.exit(
        "error: TensorFlow and scikit-image do not load without docstrings. Received: python -OO, "
        "or PYTHONOPTIMIZE=2 in the environment. Leave it out, or take -O."
    )


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """
