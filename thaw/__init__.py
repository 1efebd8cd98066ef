"""thaw: how much of an ImageNet ResNet50 should you thaw to classify Fashion-MNIST?"""

import os

from thaw.environment import settle
from thaw.parent import watch

# Before any module of this package can import what reads them.
settle()

# Before the libraries are loaded: that takes seconds, in which dvc may end.
if "DVC_STAGE" in os.environ:
    watch()


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """
