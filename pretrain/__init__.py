"""How thaw's bundled weights were made: a ResNet50 distilled from packages' pictures alone."""

import thaw  # noqa: F401 - before any library that reads the variables which it settles
