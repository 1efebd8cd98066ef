"""The ways of training, from inputs to outputs: what train-frozen, -full and -partial share."""

import gc
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.load import load_params
from thaw.config.params import BackboneTraining, Params, Training
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images, open_images
from thaw.data.splits import SPLITS, TEST_EXAMPLE, TRAIN_EXAMPLE, stratified
from thaw.findings import evaluation
from thaw.findings.evaluation import Metrics, Predictions
from thaw.network import backbone, weights
from thaw.network.features import load_features, predict
from thaw.network.heads import build_head
from thaw.network.inference import batch_size
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file, atomic_folder, require_space
from thaw.support.places import check_input
from thaw.support.runtime import configure, plain_keras
from thaw.support.tables import write_csv, write_json
from thaw.training import activation_cache
from thaw.training.batches import ArrayBatches, Batches, augmentation, parts_of_a_batch
from thaw.training.checkpoint import Checkpoint, History, checkpoint, uncompiled
from thaw.training.fitting import HEAD_STEPS, fit, warm_up_head
from thaw.training.optimizers import optimizer

SHARED = ("seed", "threads", "head")
"""Params that every mode depends on."""
SEEN_BY_BACKBONE = ("image_size", "value_range", "precision", "microbatch_pixels")
"""And those that every mode that trains it does."""
FEATURE_BATCH = 256
PREDICTION_COLUMNS = ("seed", "image", "actual", "predicted", "confidence")
"""Of predictions.csv: image counts the test part's from 0, confidence is the predicted class'."""
CONFIDENCE_DIGITS = 6
EXAMPLE_NAMES = (f"train_image_{TRAIN_EXAMPLE}", f"test_image_{TEST_EXAMPLE}")


@dataclass(frozen=True)
class TrainingResult:
    """A fitted model with all that is reported of it."""

    model: keras.Model
    history: History
    parts: Mapping[str, Predictions]
    source: weights.Source
    seed: int
    layers_frozen: int
    kept: Checkpoint
    macs: int
    """Of the backbone's convolutions, in all of training."""
    head_warmup_epochs: int = 0


def each_seed(
    train: Callable[[Params], TrainingResult], params: Params, seeds: int
) -> Iterator[TrainingResult]:
    """Train with `seeds` seeds, from `params.seed` on."""
    for seed in range(params.seed, params.seed + seeds):
        if seeds > 1:
            print(f"seed {seed}", flush=True)
        yield train(params.model_copy(update={"seed": seed}))
        gc.collect()  # Keras' objects hold one another, and with them the run's images or features


def train_frozen(root: Path, params: Params) -> TrainingResult:
    """Fit the head on cached features, and set it on the frozen backbone.

    Since the backbone's batch normalisation stays on its stored statistics, this is what fitting
    the whole frozen model would give, at the cost of one pass over the images instead of one an
    epoch; but for dropout's masks, which are drawn in another way.
    """
    training = params.train_frozen
    configure(params.seed, params.threads)
    base = weights.resnet50(params.image_size, top=False)
    quick_head = build_head(params.head, quick=True)
    source = weights.load(root / "data/weights", base)
    backbone.freeze_first(base, BACKBONE_LAYERS)
    features = {name: load_features(root / "data/features/features.h5", name) for name in SPLITS}
    kept = checkpoint(
        root,
        f"train-frozen-{params.seed}",
        _asked(params, SHARED, training),
        [root / "data/features/features.h5"],
    )
    if training.images:  # or all would be copied
        values, labels = features["train"]
        chosen, _ = stratified(labels, training.images, params.seed)
        features["train"] = (values[chosen], labels[chosen])
    history = fit(
        uncompiled(quick_head),
        ArrayBatches(*features["train"], training.batch_size, params.seed),
        ArrayBatches(*features["validation"], FEATURE_BATCH),
        training,
        kept,
        training.patience,
        label_smoothing=training.label_smoothing,
        steps_per_execution=HEAD_STEPS,
    )
    head = build_head(params.head)
    head.set_weights(quick_head.get_weights())
    parts = {}
    for part, (values, labels) in features.items():
        in_order = ArrayBatches(values, labels, FEATURE_BATCH).to_dataset()
        parts[part] = Predictions(labels, head.predict(in_order, verbose=0))
    model = backbone.image_model(base, params.image_size, params.value_range, head)
    cost = len(features["train"][1]) * activation_cache.cost(base, BACKBONE_LAYERS, 1, cached=True)
    return TrainingResult(model, history, parts, source, params.seed, BACKBONE_LAYERS, kept, cost)


def _asked(params: Params, shared: Iterable[str], training: Training) -> dict[str, Any]:
    """Return the params that one run's result depends on."""
    return params.model_dump(include=set(shared), mode="json") | {
        "training": training.model_dump(mode="json", exclude={"seeds"})
    }


def fine_tune(
    root: Path,
    params: Params,
    stage: str,
    training: BackboneTraining,
    freeze: int | str = 0,
    frozen_batch_norm: str = "inference",
    cache_gb: float = 0.0,
    engine: str = "keras",
) -> TrainingResult:
    """Fit the head and the backbone above its first `freeze` layers.

    Args:
        root: the project's folder.
        params: params.yaml's.
        stage: whose checkpoint it is.
        training: how it is fitted.
        freeze: layers, or through which block.
        frozen_batch_norm: what frozen batch normalisation does in training: see `backbone`.
        cache_gb: most disk that the frozen layers' output may take: see `activation_cache`.
        engine: what computes that output: see `thaw.network.inference`.

    """
    configure(params.seed, params.threads, params.precision)
    size = params.image_size
    network = weights.resnet50(size, top=False)
    head = build_head(params.head)  # before anything else draws: all modes start from one head
    base = backbone.for_training(network)
    source = weights.load(root / "data/weights", base)
    frozen = backbone.freeze_count(base, freeze)
    backbone.freeze_first(base, frozen)
    images = {name: open_images(root / "data/images", size, name) for name in SPLITS}
    images["train"] = images["train"].sample(training.images, params.seed)
    fitted = {part: images[part] for part in ("train", "validation")}
    batch = min(training.batch_size, len(images["train"]))
    at_once = params.microbatch_pixels if frozen < BACKBONE_LAYERS else 0  # a head alone is small
    split_in = _parts(batch, size, at_once, params.precision)
    # It is of a step: every part of one updates the running statistics.
    backbone.set_batch_norm_momentum(base, training.batch_norm_momentum ** (1 / split_in))
    if training.head_warmup.epochs:
        _warm_up_head(
            backbone.image_model(base, size, params.value_range),
            head,
            images["train"],
            training,
            params.seed,
        )
    decision = activation_cache.decide(
        base, frozen, sum(map(len, fitted.values())), training, frozen_batch_norm, cache_gb
    )
    print(f"frozen layers' output: {decision}", flush=True)
    if frozen_batch_norm == "training":
        base = backbone.with_batch_statistics(base)
    model = backbone.image_model(base, size, params.value_range, head)
    kept = checkpoint(
        root,
        f"{stage}-{params.seed}",
        _asked(params, (*SHARED, *SEEN_BY_BACKBONE), training)
        | {
            "freeze": freeze,
            "frozen_batch_norm": frozen_batch_norm,
            "cached": decision.cache,
            "engine": engine,
        },
        [root / "data/weights" / weights.WEIGHTS_FILE, images["train"].path],
    )
    part = model
    read: Mapping[str, Callable[..., Any]]
    read = {name: some.batch for name, some in fitted.items()}
    if decision.cache:
        prefix, suffix = backbone.split(base, frozen)
        part = keras.Model(suffix.inputs, head(suffix.output), name="suffix")
        read = activation_cache.cached(root, prefix, size, params.value_range, fitted, engine)
    train = Batches(
        read["train"],
        fitted["train"].labels,
        batch,
        params.seed,
        augmentation(training.augment),
        split_in,
    )
    history = fit(
        part,
        train,
        Batches(read["validation"], fitted["validation"].labels, batch_size(size, "keras")),
        training,
        kept,
        training.patience,
        optimizer(training, train.steps, train.parts),
        training.label_smoothing,
    )
    parts = {part: Predictions(some.labels, predict(model, some)) for part, some in images.items()}
    cost = len(images["train"]) * activation_cache.cost(
        base, frozen, history.epochs, decision.cache
    )
    start = training.head_warmup.epochs
    if start:  # on features that are computed once
        cost += len(images["train"]) * activation_cache.cost(base, BACKBONE_LAYERS, 1, cached=True)
    return TrainingResult(model, history, parts, source, params.seed, frozen, kept, cost, start)


def _parts(batch: int, size: int, microbatch_pixels: int, precision: str) -> int:
    """Return in how many parts a batch of images goes through the network; say so where it does.

    Raises:
        ThawError: in float16: Keras leaves out gradients that overflow, and would mix batches.

    """
    parts = parts_of_a_batch(batch, size, microbatch_pixels)
    if parts == 1:
        return 1
    if precision == "mixed_float16":
        raise ThawError(
            f"mixed_float16 takes no batch in parts, and {batch} images of {size} px need {parts}. "
            f"Received: microbatch_pixels {microbatch_pixels:,}. Allowed: {batch * size**2:,} or "
            "more, 0 (no limit), or a smaller batch_size; or -S precision=mixed_bfloat16."
        )
    print(f"batches of {batch} images go through in {parts} parts", flush=True)
    return parts


def _warm_up_head(
    features: keras.Model, head: keras.Model, images: Images, training: BackboneTraining, seed: int
) -> None:
    """Fit the head on what the backbone gives before it thaws; say how far that came."""
    pooled = predict(features, images)
    batches = ArrayBatches(pooled, images.labels, training.batch_size, seed)
    loss = warm_up_head(head, batches, training.head_warmup)
    print(f"head start: {training.head_warmup.epochs} epochs, loss {loss:.4f}", flush=True)


def load_classifier(mode: str, root: Path = Path()) -> keras.Model:
    """Return the classifier that a mode trained, as params.yaml has it, for use elsewhere.

    It takes images (n, side, side, 3) uint8 of `image_size` pixels, white on black as
    Fashion-MNIST's, and gives probabilities (n, 10) float32 in the order of `CLASS_NAMES`. The
    caller's settings of Keras change none of that.

    Args:
        mode: frozen, full or partial.
        root: the project's folder, where that mode's stage has run.

    Raises:
        ThawError: there is no such model, or params.yaml asks for another network than its.

    """
    params = load_params(root)
    with plain_keras():
        network = weights.resnet50(params.image_size, top=False)
        head = build_head(params.head)
        model = backbone.image_model(network, params.image_size, params.value_range, head)
    path = root / f"data/models/{mode}.weights.h5"
    try:
        model.load_weights(check_input(path))
    except (OSError, ValueError) as error:
        raise ThawError(
            f"{path} is no model of what params.yaml asks for. Received: {error}. Run `dvc repro "
            f"train-{mode}`, or `dvc checkout` where that is done."
        ) from error
    return model


def metrics_of(trained: TrainingResult) -> Metrics:
    """Return what `metrics/{mode}.json` holds of one run."""
    total = trained.model.count_params()
    trainable = sum(math.prod(weight.shape) for weight in trained.model.trainable_weights)
    return (
        evaluation.classifier_metrics(trained.parts)
        | evaluation.example_metrics(trained.parts["examples"], EXAMPLE_NAMES)
        | {
            "parameters": total,
            "parameters_trainable": trainable,
            "parameters_non_trainable": total - trainable,
            "epochs": trained.history.epochs,
            "best_epoch": trained.history.best_epoch,
            "head_warmup_epochs": trained.head_warmup_epochs,
            "images_seen": (trained.head_warmup_epochs + trained.history.epochs)
            * len(trained.parts["train"].labels),
            "training_macs": trained.macs,
            "weights": trained.source.name,
            "layers_frozen": trained.layers_frozen,
        }
    )


def write_results(root: Path, mode: str, runs: Iterable[TrainingResult]) -> str:
    """Write a mode's results, forget its checkpoints; return a line about it.

    Model, history and metrics are the first run's; the metrics add how accuracy spreads over the
    seeds.
    """
    every: list[TrainingResult] = []
    for run in runs:  # of all but the first, the model is let go
        every.append(replace(run, model=every[0].model) if every else run)
    trained = every[0]
    model_path = root / f"data/models/{mode}.weights.h5"
    require_space(model_path.parent, 4 * trained.model.count_params())
    with atomic_folder(root / f"data/results/{mode}") as results:
        trained.history.write(results / "history.csv")
        rows = (row for run in every for row in _predictions(run.seed, run.parts["test"]))
        write_csv(results / "predictions.csv", PREDICTION_COLUMNS, rows)
    with atomic_file(model_path) as scratch:
        uncompiled(trained.model).save_weights(scratch)
    metrics = metrics_of(trained) | evaluation.seed_metrics([run.parts for run in every])
    write_json(root / f"metrics/{mode}.json", metrics)
    for run in every:
        run.kept.clear()
    return (
        f"test accuracy {metrics['test_accuracy']:.4f} "
        f"[{metrics['test_accuracy_low']:.4f}, {metrics['test_accuracy_high']:.4f}], "
        f"{metrics['parameters_trainable']:,} parameters trained, weights: {metrics['weights']}"
    )


def _predictions(seed: int, test: Predictions) -> Iterator[tuple[int, int, str, str, float]]:
    """Yield `PREDICTION_COLUMNS` of each image."""
    rows = zip(test.labels, test.predicted, test.probabilities.max(axis=1), strict=True)
    for image, (actual, predicted, confidence) in enumerate(rows):
        names = CLASS_NAMES[actual], CLASS_NAMES[predicted]
        yield (seed, image, *names, round(float(confidence), CONFIDENCE_DIGITS))
