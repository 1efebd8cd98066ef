"""Where a project keeps its files, relative to its folder."""

from pathlib import Path

CHECK = Path("data/check.txt")
"""What the stage check writes: every other stage comes after it."""
FASHION_MNIST = Path("data/fashion-mnist")
"""Fashion-MNIST's four IDX files."""
IMAGES = Path("data/images")
"""The split, as RGB images, and dataset.json."""
WEIGHTS = Path("data/weights")
"""ResNet50's weights and a note of their source."""
FEATURES = Path("data/features/features.h5")
"""Pooled features of every image."""
MODELS = Path("data/models")
"""One folder for each mode: its weights and what is needed to use them."""
RESULTS = Path("data/results")
"""One folder for each stage that measures: `SUMMARY`, and tables by image, class, epoch or cell."""
SUMMARY = "summary.json"
"""Every single number that a stage measured, with what belongs to it, such as the weights."""
METRICS = Path("metrics")
"""One JSON file for each mode: the few numbers that DVC compares."""
PLOTS = Path("plots")
REPORT = Path("report")
STUDY = Path("tools/study")
PARAMS = Path("params.yaml")
LOCK = Path("requirements.lock")
LIVE = Path("data/live")
"""The curves of a training while it runs; git ignores what is in it, and no stage reads it."""
PRIVATE = Path(".thaw")
"""Checkpoints of unfinished runs, timings and locks; git and DVC ignore it."""
