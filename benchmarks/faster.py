"""What each class of thaw.network.faster gains: python -m benchmarks.faster.

Writes  benchmarks/faster.md

For each class, one model has it and one has the class of Keras' that it replaces. Both train on the
same batches in turn, so that whatever else the machine does slows both.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from benchmarks.apart import ROOT, machine
from benchmarks.cases import compile_as_stage, compiled_head, network
from thaw.config.load import load_params
from thaw.config.params import Params
from thaw.data import fashion_mnist
from thaw.data.resizing import resize_gray, to_rgb
from thaw.network import backbone, faster
from thaw.network.heads import FEATURES
from thaw.support import paths
from thaw.support.runtime import set_up
from thaw.training.batches import ArrayBatches, Batches

REPLACED = {
    "Conv2D": keras.layers.Conv2D,
    "BatchNormalization": keras.layers.BatchNormalization,
    "Adam": keras.optimizers.Adam,
    "Dropout": keras.layers.Dropout,
}
STAGES = dict.fromkeys(REPLACED, "train-full") | {"Dropout": "train-frozen"}
"""The stage that each gains most in."""
IMAGES = {"train-full": 320, "train-frozen": 20_000}
ROUNDS = 7
Job = tuple[keras.Model, Any]
"""A compiled model, and the dataset of its epoch."""


@contextmanager
def without(name: str) -> Any:
    """Let the stages use Keras' own class while a model is built."""
    ours = getattr(faster, name)
    setattr(faster, name, REPLACED[name])
    try:
        yield
    finally:
        setattr(faster, name, ours)


def train_full(params: Params) -> Job:
    """Return what an epoch of train-full fits, on real images."""
    gray = fashion_mnist.load(ROOT / paths.FASHION_MNIST)[0]
    count, training = IMAGES["train-full"], params.train_full
    images = to_rgb(resize_gray(gray.images[:count], params.image_size))
    base, head, _ = network(params, 0, plain=False)
    model = backbone.image_model(base, params.image_size, params.value_range, head)
    batches = Batches(images.__getitem__, gray.labels[:count], training.batch_size, params.seed)
    compile_as_stage(model, training, batches)
    model.batches = batches  # the dataset does not keep them alive
    return model, batches.to_dataset()


def train_frozen(params: Params) -> Job:
    """Return what an epoch of train-frozen fits; the features' values do not matter for speed."""
    count = IMAGES["train-frozen"]
    features = np.random.default_rng(0).normal(size=(count, FEATURES)).astype(np.float32)
    batches = ArrayBatches(features, np.arange(count) % 10, params.train_frozen.batch_size, 0)
    head = compiled_head(params)
    head.batches = batches
    return head, batches.to_dataset()


JOBS: dict[str, Callable[[Params], Job]] = {"train-full": train_full, "train-frozen": train_frozen}


def epoch(job: Job) -> float:
    """Train for an epoch; return its seconds."""
    model, dataset = job
    begin = time.perf_counter()
    model.fit(dataset, shuffle=False, verbose=0)
    return time.perf_counter() - begin


def measure(name: str, params: Params) -> tuple[float, float]:
    """Return the median seconds of an epoch with Keras' own class, and with thaw's."""
    with without(name):
        keras_own = JOBS[STAGES[name]](params)
    ours = JOBS[STAGES[name]](params)
    for job in (keras_own, ours):
        epoch(job)  # traces
    rounds = [(epoch(keras_own), epoch(ours)) for _ in range(ROUNDS)]
    one, other = (statistics.median(seconds) for seconds in zip(*rounds, strict=True))
    return one, other


def main() -> None:
    """Measure every class; write the table."""
    params = load_params(ROOT)
    set_up(params.threads)
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
