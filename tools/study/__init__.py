"""Sets of experiments that answer one question each, by DVC's queue; the results are in git."""

import thaw  # noqa: F401 - before any library that reads the variables which it settles
