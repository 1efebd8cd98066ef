"""Tools that people and CI run around the pipeline. The pipeline itself does not need them."""

import thaw  # noqa: F401 - sets environment variables that other libraries read when imported
