"""How thaw holds up: each module prints a table, which docs/reliability.md shows."""

import thaw  # noqa: F401 - before any library that reads the variables which it settles
