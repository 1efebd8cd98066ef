"""The few numbers of each mode that DVC compares, in `metrics/{mode}.json`.

`dvc exp show` and `dvc metrics diff` show every metric of every experiment, which fits a screen
only if there are few. Experiments vary train-partial, so it has seven entries here. The other two
modes are what it is compared with, and have two. `data/results/{mode}/summary.json` has the rest.
"""

from collections.abc import Mapping
from typing import Any

EVERY = {"acc": "test_accuracy"}
"""The entries of every mode besides `ci95`, and their names in summary.json."""
VARIED = {
    "ece": "calibration_error",
    "loss": "test_loss",
    "recall": "test_macro_recall",
    "trainable": "parameters_trainable",
    "weights": "weights",
}
"""Those of train-partial besides."""


def headline(mode: str, summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the content of `metrics/{mode}.json`.

    The mode is its only key, because DVC then calls a column `partial.acc`. Without it the three
    files would share their names, and DVC would write `metrics/partial.json:acc`.

        acc        accuracy on the test images, in [0, 1]
        ci95       half the width of its 95 % interval (Wilson 1927), in [0, 1]
        ece        expected calibration error on the test images, in [0, 1]
        loss       loss on the test images, in nats
        recall     macro recall on the test images, also called balanced accuracy, in [0, 1]
        trainable  the parameters that were trained
        weights    what the backbone started from, such as "imagenet"; not a number

    Args:
        mode: `frozen`, `partial` or `full`.
        summary: the mode's entries in summary.json, not yet rounded.

    """
    names = EVERY | VARIED if mode == "partial" else EVERY
    width = summary["test_accuracy_high"] - summary["test_accuracy_low"]
    return {mode: {short: summary[name] for short, name in names.items()} | {"ci95": width / 2}}
