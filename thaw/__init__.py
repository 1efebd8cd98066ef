"""thaw: how much of an ImageNet ResNet50 should you thaw to classify Fashion-MNIST?"""

import os

from thaw.environment import settle

# Before any module of this package can import what reads them.
settle()

STARTED_BY = os.getppid()
"""The process that started this one. It may end while libraries are loaded, which takes seconds:
see `thaw.process`."""


class ThawError(Exception):
    """Bad input or a failed environment: what was wrong, where, what is allowed, what to do.

    A stage prints its message and ends with exit code 1, without a traceback.
    """
