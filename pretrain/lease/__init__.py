"""Distillation on a machine that is lent for minutes: GPU.md has the commands.

Everything here but `library`, which packs, and `join`, which unpacks what came back, runs on NumPy,
OpenCV, PyTorch and PyYAML alone.
"""

import time

BEGUN = time.monotonic()
"""When the program began: PyTorch is loaded after this, which takes long on a fresh machine."""
