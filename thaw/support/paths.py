"""Where things lie in a project, relative to its folder: the one place that knows."""

from pathlib import Path

RAW = Path("data/raw")
"""Fashion-MNIST's four IDX files."""
IMAGES = Path("data/images")
"""The split, as RGB images."""
WEIGHTS = Path("data/weights")
"""ResNet50's weights, and where they came from."""
FEATURES = Path("data/features/features.h5")
"""Pooled features of every image."""
MODELS = Path("data/models")
"""A folder for each mode: its weights, and what is needed to use them."""
RESULTS = Path("data/results")
"""A folder for each stage that measures: tables by image, class, epoch or cell."""
METRICS = Path("metrics")
"""A JSON file for each stage that measures: the numbers that people compare."""
PLOTS = Path("plots")
REPORT = Path("report")
STUDY = Path("tools/study")
PARAMS = Path("params.yaml")
LOCK = Path("requirements.lock")
PRIVATE = Path(".thaw")
"""Ignored by git and DVC: checkpoints of unfinished runs, timings, locks."""
