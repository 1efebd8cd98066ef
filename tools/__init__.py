"""What people and CI run around the pipeline; the pipeline itself needs none of it."""

import thaw  # noqa: F401 - before any library that reads the variables which it settles
