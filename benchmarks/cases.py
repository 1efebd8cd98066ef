"""Make one measurement in a new process: python -m benchmarks.cases CASE WAY SIZE.

Prints one line of JSON with the seconds that the work took. For both ways, they leave out imports,
reading the images, building models, and the extra work of the first batches (tracing, compiling,
allocating memory). `ready_seconds` is the time of this extra work.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from benchmarks.apart import ROOT
from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.load import load_params
from thaw.config.params import BackboneTraining, Params
from thaw.data import fashion_mnist, image_store
from thaw.data.splits import Split
from thaw.network import backbone, faster, heads, inference, weights
from thaw.support import paths
from thaw.support.runtime import set_up
from thaw.training import activation_cache, batches, fitting, optimizers

FROZEN_EPOCHS, PARTIAL_EPOCHS = 50, 10
PARTIAL_FREEZE = "conv4"
CLASSES = len(fashion_mnist.CLASS_NAMES)
PREDICT_BATCH = 32
"""The default batch size of Keras' `predict`."""


@dataclass(frozen=True)
class Size:
    """How much work is measured."""

    images: int
    """Images at 32 px."""
    large_images: int
    """Images at 224 px."""
    epochs: int
    """Epochs that really run. All cost the same, so the time of the others is extrapolated."""


SIZES = {"quick": Size(2_000, 40, 1), "full": Size(10_000, 200, 3)}


@dataclass(frozen=True)
class Job:
    """A measurement: `start` prepares the work and is not counted; `work` is counted.

    `work` gets what `start` returned. It may return the seconds itself, if some are extrapolated.
    """

    start: Callable[[], Any]
    work: Callable[[Any], dict[str, float] | None]


def load(size: int, count: int) -> image_store.Images:
    """Return the first `count` training images of the pipeline, of `size` pixels a side."""
    return image_store.open_images(ROOT / "data/images", size, "train").first(count)


def extract(size: int, way: str, count: int) -> Job:
    """Compute features from images: by plain `model.predict`, or by an engine of thaw."""
    some = load(size, count)
    _, model = backbone.feature_model(size, "0-255")
    if way == "naive":
        pixels = some.batch(slice(None))
        few = warm_up_count(count, PREDICT_BATCH)
        return Job(
            lambda: model.predict(pixels[:few], verbose=0),
            lambda _: plain_keras(model.predict, 1, x=pixels),
        )

    def start() -> inference.Network:
        network = inference.ready(model, way)
        network.run(some.batch(slice(0, network.batch_size)))
        return network

    def work(network: inference.Network) -> None:
        for _ in inference.predict_batches(network, some):
            pass

    return Job(start, work)


def network(
    params: Params, freeze: int | str, *, plain: bool
) -> tuple[keras.Model, keras.Model, int]:
    """Return backbone, as it comes or as thaw trains it, head, and how many layers are frozen."""
    base = weights.resnet50(params.image_size, top=False)
    base = base if plain else backbone.for_training(base)
    count = backbone.freeze_count(base, freeze)
    backbone.freeze_first(base, count)
    return base, heads.build_head(params.head, CLASSES, params.seed), count


def compile_as_stage(
    model: keras.Model, training: BackboneTraining, each: batches.Batches
) -> keras.Model:
    """Compile as train-full and train-partial do."""
    optimizer = optimizers.build_optimizer(training, each.steps)
    fitting.compile_model(model, optimizer, training.label_smoothing)
    return model


def compiled_head(params: Params) -> keras.Model:
    """Return a head, compiled as train-frozen does."""
    training = params.train_frozen
    head = heads.build_head(params.head, CLASSES, params.seed, fast=True)
    optimizer = faster.Adam(training.learning_rate)
    fitting.compile_model(head, optimizer, training.label_smoothing, fitting.HEAD_STEPS)
    return head


def warm_up_count(count: int, batch: int) -> int:
    """Return how many images give every batch size that occurs with `count` images."""
    return min(count, batch + count % batch)


def naive_fit(
    params: Params, freeze: int | str, count: int, batch: int, epochs: int, every_epoch: int
) -> Job:
    """Measure plain Keras: arrays in memory, and `fit` on the whole network with frozen layers.

    It runs `epochs` epochs, and extrapolates the time to `every_epoch` epochs.
    """
    base, head, _ = network(params, freeze, plain=True)
    model = backbone.image_model(base, 32, "0-255", head)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    part = load(32, count)
    pixels, labels = part.batch(slice(None)), part.labels

    def fit(_: Any) -> dict[str, float]:
        run = {"x": pixels, "y": labels, "batch_size": batch, "epochs": epochs}
        return plain_keras(model.fit, every_epoch / epochs, **run)

    few = warm_up_count(count, batch)
    return Job(lambda: model.fit(pixels[:few], labels[:few], batch, verbose=0), fit)


def frozen(way: str, count: int, epochs: int) -> Job:
    """Train a head on the frozen backbone for `FROZEN_EPOCHS` epochs."""
    params = load_params(ROOT)
    batch = params.train_frozen.batch_size
    if way == "naive":
        return naive_fit(params, BACKBONE_LAYERS, count, batch, epochs, FROZEN_EPOCHS)
    some = load(32, count)
    model = backbone.feature_model(32, "0-255")[1]
    head = compiled_head(params)

    def fit(engine: inference.Network, part: image_store.Images, run_epochs: int) -> None:
        values = np.concatenate([out for (out,) in inference.predict_batches(engine, part)])
        each = batches.ArrayBatches(values, part.labels, batch, 0)
        head.fit(each.to_dataset(), epochs=run_epochs, shuffle=False, verbose=0)

    def start() -> inference.Network:
        engine = inference.ready(model, params.engine)
        fit(engine, some.first(warm_up_count(count, batch)), 1)
        return engine

    return Job(start, lambda engine: fit(engine, some, FROZEN_EPOCHS))


def partial(way: str, count: int, epochs: int) -> Job:
    """Train the head and the backbone above `PARTIAL_FREEZE` for `PARTIAL_EPOCHS` epochs."""
    params = load_params(ROOT)
    batch = params.train_partial.batch_size
    if way == "naive":
        return naive_fit(params, PARTIAL_FREEZE, count, batch, epochs, PARTIAL_EPOCHS)
    base, head, cut = network(params, PARTIAL_FREEZE, plain=False)
    prefix, suffix = backbone.split_at(base, cut)
    model = keras.Model(suffix.inputs, head(suffix.output))
    some = load(32, count)
    steps = batches.Batches(some.batch, some.labels, batch)
    compile_as_stage(model, params.train_partial, steps)

    def fit(part: image_store.Images, run_epochs: int) -> float:
        with tempfile.TemporaryDirectory() as name:
            readers = activation_cache.cached(
                Path(name), prefix, 32, "0-255", {"train": part}, params.engine
            )
            # The clock starts after the cache is filled: `work` extrapolates only the epochs.
            begin = time.perf_counter()
            each = batches.Batches(readers["train"], part.labels, batch, 0)
            model.fit(each.to_dataset(), epochs=run_epochs, shuffle=False, verbose=0)
            return time.perf_counter() - begin

    def work(_: Any) -> dict[str, float]:
        begin = time.perf_counter()
        fitting = fit(some, epochs)
        once = time.perf_counter() - begin - fitting
        return {"seconds": once + fitting * PARTIAL_EPOCHS / epochs}

    return Job(lambda: fit(some.first(warm_up_count(count, batch)), 1), work)


class Watched(batches.Batches):
    """Batches that measure the time that making them takes."""

    seconds = 0.0

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        begin = time.perf_counter()
        batch = super().__getitem__(index)
        self.seconds += time.perf_counter() - begin
        return batch


def full(way: str, count: int, _: int) -> Job:
    """Train the whole network for one epoch, on half the images."""
    params = load_params(ROOT)
    count, batch = count // 2, params.train_full.batch_size
    if way == "naive":
        return naive_fit(params, 0, count, batch, 1, 1)
    base, head, _ = network(params, 0, plain=False)
    some = load(32, count)
    watched = Watched(some.batch, some.labels, batch, 0)
    model = backbone.image_model(base, 32, "0-255", head)
    compile_as_stage(model, params.train_full, watched)

    def work(_: Any) -> dict[str, float]:
        begin = time.perf_counter()
        watched.seconds = 0.0
        model.fit(watched.to_dataset(), shuffle=False, verbose=0)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "making_batches_share": watched.seconds / seconds}

    first = batches.Batches(some.batch, some.labels[: warm_up_count(count, batch)], batch, 0)
    return Job(lambda: model.fit(first.to_dataset(), shuffle=False, verbose=0), work)


def preprocess(way: str, count: int, _: int) -> Job:
    """Resize gray 28x28 images to RGB 32 and 224.

    The naive way resizes image by image in memory. thaw's stage writes its files too.
    """
    gray = fashion_mnist.load(ROOT / paths.FASHION_MNIST)[0]

    def loop(how_many: int) -> None:
        for image in gray.images[:how_many]:
            notebook_resize(image)

    def stage(how_many: int) -> None:
        train = Split(gray, np.arange(how_many))
        with tempfile.TemporaryDirectory(dir=ROOT / "data") as name:
            for size in (image_store.SMALL, image_store.LARGE):
                image_store.write_images(Path(name) / f"{size}.h5", {"train": train}, size)

    few = max(count // 50, 1)
    if way == "naive":
        return Job(lambda: loop(1), lambda _: reckoned(lambda: loop(few), count / few))
    return Job(lambda: stage(few), lambda _: stage(count))


def notebook_resize(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Resize one image as the notebook did, and round it to uint8 as thaw does."""
    rgb = np.stack([image] * 3, axis=-1)
    small = resize(rgb, (32, 32), order=1, mode="constant", preserve_range=True)
    large = resize(small, (224, 224), order=1, mode="constant", preserve_range=True)
    return np.rint(small).astype(np.uint8), np.rint(large).astype(np.uint8)


def reckoned(work: Callable[[], Any], factor: float) -> dict[str, float]:
    """Time a part of the work; return the seconds that `factor` times as much would take."""
    begin = time.perf_counter()
    work()
    return {"seconds": (time.perf_counter() - begin) * factor}


class InSteps(keras.callbacks.Callback):
    """Measures the time that Keras spends in its steps, which fetch their own batches."""

    seconds = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self.seconds -= time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop the clock."""
        self.seconds += time.perf_counter()

    # Keras calls other methods in `predict`.
    on_predict_batch_begin, on_predict_batch_end = on_train_batch_begin, on_train_batch_end


def plain_keras(call: Callable[..., Any], factor: float, **arguments: Any) -> dict[str, float]:
    """Time a call of Keras' `fit` or `predict`, and extrapolate by `factor`.

    Returns:
        `seconds` is the whole time, and `waiting_seconds` the time outside the steps. README.md
        explains what Keras waits for.

    """
    steps = InSteps()
    all_of_it = reckoned(lambda: call(**arguments, verbose=0, callbacks=[steps]), factor)
    return all_of_it | {"waiting_seconds": all_of_it["seconds"] - steps.seconds * factor}


def job(case: str, way: str, size: Size) -> Job:
    """Return the job of a case, the naive way or thaw's."""
    if case.startswith("extraction"):
        side = int(case.rsplit("-", 1)[1])
        return extract(side, way, size.images if side == image_store.SMALL else size.large_images)
    named = {"frozen": frozen, "partial": partial, "full": full, "preprocess": preprocess}
    return named[case](way, size.images, size.epochs)


def main(case: str, way: str, size: str) -> None:
    """Make one measurement, and print it as JSON."""
    set_up(load_params(ROOT).threads)
    measured = job(case, way, SIZES[size])
    begin = time.perf_counter()
    made = measured.start()
    ready = time.perf_counter() - begin
    begin = time.perf_counter()
    result = measured.work(made) or {"seconds": time.perf_counter() - begin}
    print(json.dumps(result | {"ready_seconds": ready}))


if __name__ == "__main__":
    main(*sys.argv[1:])
