"""thaw against the naive way, side by side: see README.md beside this file."""

import thaw  # noqa: F401 - before any library that reads the variables which it settles
