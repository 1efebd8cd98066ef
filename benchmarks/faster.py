"""Measure how much each class of thaw.network.faster gains: python -m benchmarks.faster.

Writes  benchmarks/faster.md

For each class, a stage is trained with it and with the class of Keras that it replaces. The runs
use thaw's own functions, some of the real images, and a new process each. The time of an epoch is
computed from a training of one epoch and a longer one: their difference leaves out tracing and
everything that a stage does before and after the epochs.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from benchmarks.apart import ROOT, machine
from thaw.config.load import load_params
from thaw.config.params import Params
from thaw.data import fashion_mnist
from thaw.data.resizing import resize_gray, to_rgb
from thaw.network import backbone, faster, weights
from thaw.network.heads import FEATURES, build_head
from thaw.support import paths
from thaw.support.runtime import set_up
from thaw.training.batches import ArrayBatches, Batches
from thaw.training.fitting import HEAD_STEPS, compile_model
from thaw.training.optimizers import build_optimizer

REPLACED = {
    "Conv2D": keras.layers.Conv2D,
    "Adam": keras.optimizers.Adam,
    "Dropout": keras.layers.Dropout,
}
CLASSES = {"train-full": ("Conv2D", "Adam"), "train-frozen": ("Dropout", "L2")}
"""The classes, by the stage in which each gains most."""
IMAGES = {"train-full": 640, "train-frozen": 20_000}
EPOCHS = {"train-full": 3, "train-frozen": 11}
WORTH = 1.1
"""The smallest gain for which a class is worth keeping."""


def write_inputs(root: Path, params: Params, stage: str) -> None:
    """Write the inputs of the stage: some training images, and very small other splits."""
    counts = {"train": IMAGES[stage], "validation": 20, "test": 20}
    samples = params.samples.model_copy(update=counts)
    splits = make_splits(*fashion_mnist.load(ROOT / paths.RAW), samples)
    image_store.write_images(root / paths.IMAGES / "rgb32.h5", splits, image_store.SMALL)
    weights.save(root / paths.WEIGHTS, *sources.obtain("bundled", root, params.seed))
    if stage == "train-frozen":
        base, model = backbone.feature_model(image_store.SMALL, params.value_range)
        weights.load(root / paths.WEIGHTS, base)
        opened = {
            name: image_store.open_images(root / paths.IMAGES, image_store.SMALL, name)
            for name in SPLITS
        }
        features.write_features(root / paths.FEATURES, model, opened, params.engine)


def train(stage: str, root: Path, params: Params, epochs: int) -> float:
    """Train on all images in `root`, and return the seconds that this took."""
    changes = {"images": 0, "epochs": epochs}
    begin = time.perf_counter()
    if stage == "train-frozen":
        head = params.train_frozen.model_copy(update=changes)
        asked = params.model_copy(update={"train_frozen": head})
        result = train_frozen(root, TrainFrozenConfig.of(asked))
    else:
        full = params.train_full.model_copy(update=changes)
        asked = params.model_copy(update={"train_full": full})
        result = fine_tune(root, TrainFullConfig.of(asked))
    seconds = time.perf_counter() - begin
    result.checkpoint.clear()  # or the next training would resume from it
    return seconds


def measure(stage: str, root: Path, without: str) -> dict[str, float]:
    """Return the seconds of an epoch, with all of the faster classes or without one of them."""
    if without != "nothing":
        setattr(faster, without, REPLACED[without])
    params = load_params(ROOT)
    set_up(params.threads)
    short, long = (train(stage, root, params, epochs) for epochs in (1, EPOCHS[stage]))
    return {"seconds": (long - short) / (EPOCHS[stage] - 1)}


def main() -> None:
    """Measure every class, and write the table."""
    lines = [
        f"`python -m benchmarks.faster` on {machine()}",
        "",
        "| class | stage | an epoch with Keras' own, s | with thaw's, s | gain |",
        "|---|---|---|---|---|",
    ]
    for name, stage in STAGES.items():
        keras_own, ours = measure(name, params)
        gain = keras_own / ours
        lines.append(f"| {name} | {stage} | {keras_own:.2f} | {ours:.2f} | {gain:.2f}x |")
        print(lines[-1], flush=True)
    (ROOT / "benchmarks/faster.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
