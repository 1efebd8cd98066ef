"""thaw against the naive way, side by side: see README.md beside this file."""

import thaw  # noqa: F401 - before TensorFlow, which reads what it sets
