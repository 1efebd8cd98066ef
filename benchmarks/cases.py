"""One measurement, in a process of its own: python -m benchmarks.cases CASE WAY SIZE.

Prints one line of JSON with the seconds that the work took. Not counted, for either way: imports,
reading the images, building models, and what the first batch brings with it (tracing, compiling,
memory). The first stands as `ready_seconds`.
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
from thaw.config.params import Params
from thaw.data import fashion_mnist, image_store
from thaw.data.splits import Split
from thaw.network import backbone, heads, inference
from thaw.network.faster import Adam
from thaw.support.runtime import set_up
from thaw.training import activation_cache, batches, fitting

FROZEN_EPOCHS, PARTIAL_EPOCHS = 50, 10
PARTIAL_FREEZE = "conv4"
PREDICT_BATCH = 32
"""Images in a batch of Keras' `predict`, where nothing else is asked for."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    images: int
    """At 32 px."""
    large_images: int
    """At 224 px."""
    epochs: int
    """Really run of the naive way's; every one costs the same, so the rest is reckoned."""


SIZES = {"quick": Size(2_000, 40, 1), "full": Size(10_000, 200, 3)}


@dataclass(frozen=True)
class Job:
    """What is measured: `start` makes it ready and is not counted, `work` is."""

    start: Callable[[], Any]
    work: Callable[[Any], dict[str, float] | None]


def load(size: int, count: int) -> image_store.Images:
    """Return the first training images of the pipeline."""
    return image_store.open_images(ROOT / "data/images", size, "train").first(count)


def extract(size: int, way: str, count: int) -> Job:
    """Images to features: `model.predict` as it comes, or an engine of thaw's."""
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


def compiled(
    model: keras.Model, by: type[keras.optimizers.Adam] = Adam, steps_per_execution: int = 1
) -> keras.Model:
    """Compile as thaw does, or with Keras' own Adam."""
    model.compile(
        by(3e-4),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


def network(
    params: Params, freeze: int | str, *, plain: bool
) -> tuple[keras.Model, keras.Model, int]:
    """Return backbone, as it comes or as thaw trains it, head, and how many layers are frozen."""
    base, head = backbone.feature_model(32, "0-255")[0], heads.build_head(params.head, seed=0)
    base = base if plain else backbone.for_training(base)
    count = backbone.freeze_count(base, freeze)
    backbone.freeze_first(base, count)
    return base, head, count


def warm_up_count(count: int, batch: int) -> int:
    """Return how many images bring every size of batch that `count` images do."""
    return min(count, batch + count % batch)


def naive_fit(
    params: Params, freeze: int | str, count: int, batch: int, epochs: int, every_epoch: int
) -> Job:
    """Plain Keras: arrays in memory, `fit` on the whole network with its first layers frozen.

    `epochs` are run, `every_epoch` reckoned.
    """
    base, head, _ = network(params, freeze, plain=True)
    model = compiled(backbone.image_model(base, 32, "0-255", head), keras.optimizers.Adam)
    part = load(32, count)
    pixels, labels = part.batch(slice(None)), part.labels

    def fit(_: Any) -> dict[str, float]:
        run = {"x": pixels, "y": labels, "batch_size": batch, "epochs": epochs}
        return plain_keras(model.fit, every_epoch / epochs, **run)

    few = warm_up_count(count, batch)
    return Job(lambda: model.fit(pixels[:few], labels[:few], batch, verbose=0), fit)


def frozen(way: str, count: int, epochs: int) -> Job:
    """A head on a frozen backbone, `FROZEN_EPOCHS` epochs."""
    params = load_params(ROOT)
    batch = params.train_frozen.batch_size
    if way == "naive":
        return naive_fit(params, BACKBONE_LAYERS, count, batch, epochs, FROZEN_EPOCHS)
    some = load(32, count)
    model = backbone.feature_model(32, "0-255")[1]
    head = compiled(
        heads.build_head(params.head, seed=0, fast=True), steps_per_execution=fitting.HEAD_STEPS
    )

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
    """The backbone above `PARTIAL_FREEZE` and the head, `PARTIAL_EPOCHS` epochs."""
    params = load_params(ROOT)
    batch = params.train_partial.batch_size
    if way == "naive":
        return naive_fit(params, PARTIAL_FREEZE, count, batch, epochs, PARTIAL_EPOCHS)
    base, head, cut = network(params, PARTIAL_FREEZE, plain=False)
    prefix, suffix = backbone.split_at(base, cut)
    model = compiled(keras.Model(suffix.inputs, head(suffix.output)))
    some = load(32, count)

    def fit(part: image_store.Images, run_epochs: int) -> float:
        with tempfile.TemporaryDirectory() as name:
            readers = activation_cache.cached(
                Path(name), prefix, 32, "0-255", {"train": part}, params.engine
            )
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
    """Batches that know how long they took to make."""

    seconds = 0.0

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        begin = time.perf_counter()
        batch = super().__getitem__(index)
        self.seconds += time.perf_counter() - begin
        return batch


def full(way: str, count: int, _: int) -> Job:
    """Everything thawed, one epoch."""
    params = load_params(ROOT)
    count, batch = count // 2, params.train_full.batch_size
    if way == "naive":
        return naive_fit(params, 0, count, batch, 1, 1)
    base, head, _ = network(params, 0, plain=False)
    model = compiled(backbone.image_model(base, 32, "0-255", head))
    some = load(32, count)
    watched = Watched(some.batch, some.labels, batch, 0)

    def work(_: Any) -> dict[str, float]:
        begin = time.perf_counter()
        watched.seconds = 0.0
        model.fit(watched.to_dataset(), shuffle=False, verbose=0)
        seconds = time.perf_counter() - begin
        return {"seconds": seconds, "making_batches_share": watched.seconds / seconds}

    first = batches.Batches(some.batch, some.labels[: warm_up_count(count, batch)], batch, 0)
    return Job(lambda: model.fit(first.to_dataset(), shuffle=False, verbose=0), work)


def preprocess(way: str, count: int, _: int) -> Job:
    """Gray 28x28 to RGB 32 and 224: image by image in memory, or thaw's stage, files included."""
    gray = fashion_mnist.load(ROOT / "data/raw")[0]

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
    """Resize one image as the notebook did, and keep it as thaw does."""
    rgb = np.stack([image] * 3, axis=-1)
    small = resize(rgb, (32, 32), order=1, mode="constant", preserve_range=True)
    large = resize(small, (224, 224), order=1, mode="constant", preserve_range=True)
    return np.rint(small).astype(np.uint8), np.rint(large).astype(np.uint8)


def reckoned(work: Callable[[], Any], factor: float) -> dict[str, float]:
    """Do part of the work; return what all of it would take."""
    begin = time.perf_counter()
    work()
    return {"seconds": (time.perf_counter() - begin) * factor}


class InSteps(keras.callbacks.Callback):
    """Knows how long Keras was in its steps, which fetch their batches themselves."""

    seconds = 0.0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Start the clock."""
        self.seconds -= time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Stop it."""
        self.seconds += time.perf_counter()

    on_predict_batch_begin, on_predict_batch_end = on_train_batch_begin, on_train_batch_end


def plain_keras(call: Callable[..., Any], factor: float, **arguments: Any) -> dict[str, float]:
    """Do part of the work by Keras' `fit` or `predict`; return what all of it would take.

    `waiting_seconds` are those outside its steps: README.md says what it waits for.
    """
    steps = InSteps()
    all_of_it = reckoned(lambda: call(**arguments, verbose=0, callbacks=[steps]), factor)
    return all_of_it | {"waiting_seconds": all_of_it["seconds"] - steps.seconds * factor}


def job(case: str, way: str, size: Size) -> Job:
    """Return a case's job."""
    if case.startswith("extraction"):
        side = int(case.rsplit("-", 1)[1])
        return extract(side, way, size.images if side == image_store.SMALL else size.large_images)
    named = {"frozen": frozen, "partial": partial, "full": full, "preprocess": preprocess}
    return named[case](way, size.images, size.epochs)


def main(case: str, way: str, size: str) -> None:
    """Measure and print."""
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
