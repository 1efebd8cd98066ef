"""Sets of experiments, run by DVC's queue. Each set answers one question; git holds its results."""

import thaw  # noqa: F401 - sets environment variables that other libraries read when imported
