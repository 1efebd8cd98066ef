"""thaw: how much of an ImageNet ResNet50 should you thaw to classify your pictures?"""

import os
import sys

from thaw.support.environment import hide_keras_home, settle

__version__ = "0.1.0"

PACKAGES = {
    "support": "errors, files, paths, locks, the stage runner, the environment of a run",
    "config": "params.yaml, validated; one frozen config for each stage",
    "data": "the dataset: mirrors, pictures, decoding, resizing, the parts, the image store",
    "network": "ResNet50, its weights, freezing, the head, inference engines, features",
    "training": "batches, optimizers, checkpoints, fitting, the activation cache, the three modes",
    "findings": "metrics with their intervals, the baseline, the diagnosis",
    "report": "tables, figures and pages",
    "serving": "trained classifiers for other programs",
}
"""What each package is about. A package may import itself and those listed above it."""

# First of all: libraries read these variables while they are imported.
settle()
hide_keras_home()

# Loading the libraries takes seconds, and dvc may end meanwhile. So start to watch it before.
if "DVC_STAGE" in os.environ:
    from thaw.support.parent import watch

    watch()

if sys.flags.optimize > 1:
    sys.exit(
        "error: TensorFlow and scikit-image do not load without docstrings. Received: python -OO, "
        "or PYTHONOPTIMIZE=2 in the environment. Leave it out, or use -O."
    )
