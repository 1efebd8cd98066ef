"""Benchmarks of thaw against the naive way, side by side. README.md here has the results."""

import thaw  # noqa: F401 - sets environment variables, so it comes before libraries that read them
