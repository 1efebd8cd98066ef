"""The ways of training, from inputs to outputs: what train-frozen, -full and -partial share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from thaw import backbone, evaluation, weights
from thaw.evaluation import Metrics, Predictions
from thaw.fashion_mnist import CLASS_NAMES
from thaw.features import load_features, predict, predict_batch
from thaw.files import atomic_file, atomic_folder, require_space, write_csv, write_json
from thaw.heads import build_head
from thaw.images import PARTS, TEST_EXAMPLE, TRAIN_EXAMPLE, Images, open_images, stratified
from thaw.params import BACKBONE_LAYERS, BackboneTraining, Params
from thaw.runtime import configure
from thaw.training import (
    Batches,
    Checkpoint,
    History,
    checkpoint,
    fit,
    uncompiled,
)

SHARED = ("seed", "threads", "head")
"""Params that every mode depends on."""
FEATURE_BATCH = 256
EXAMPLE_NAMES = (f"train_image_{TRAIN_EXAMPLE}", f"test_image_{TEST_EXAMPLE}")


@dataclass(frozen=True)
class Trained:
    """A fitted model with all that is reported of it."""

    model: keras.Model
    history: History
    parts: Mapping[str, Predictions]
    source: weights.Source
    layers_frozen: int
    kept: Checkpoint


def train_frozen(root: Path, params: Params) -> Trained:
    """Fit the head on cached features, and set it on the frozen backbone.

    Since the backbone's batch normalisation stays on its stored statistics, this is what fitting
    the whole frozen model would give, at the cost of one pass over the images instead of one an
    epoch.
    """
    training = params.train_frozen
    configure(params.seed, params.threads)
    base = weights.resnet50(params.image_size, top=False)
    head = build_head(params.head)
    source = weights.load(root / "data/weights", base)
    backbone.freeze_first(base, BACKBONE_LAYERS)
    features = {part: load_features(root / "data/features/features.h5", part) for part in PARTS}
    kept = checkpoint(
        root,
        "train-frozen",
        params.model_dump(include={*SHARED, "train_frozen"}, mode="json"),
        [root / "data/features/features.h5"],
    )
    chosen, _ = stratified(features["train"][1], training.images, params.seed)
    features["train"] = (features["train"][0][chosen], features["train"][1][chosen])
    batches = {
        part: Batches(values.__getitem__, labels, FEATURE_BATCH)
        for part, (values, labels) in features.items()
    }
    train = Batches(
        features["train"][0].__getitem__, features["train"][1], training.batch_size, params.seed
    )
    validation = batches["validation"]
    history = fit(uncompiled(head), train, validation, training, kept, training.patience)
    parts = {
        part: Predictions(labels, head.predict(values, batch_size=FEATURE_BATCH, verbose=0))
        for part, (values, labels) in features.items()
    }
    model = backbone.image_model(base, params.image_size, params.input_range, head)
    return Trained(model, history, parts, source, BACKBONE_LAYERS, kept)


def fine_tune(
    root: Path,
    params: Params,
    stage: str,
    training: BackboneTraining,
    freeze: int | str = 0,
    batch_norm: str = "stored",
) -> Trained:
    """Fit the head and the backbone above its first `freeze` layers, end to end.

    `batch_norm` is what frozen batch normalisation does in training: see `thaw.backbone`.
    """
    configure(params.seed, params.threads)
    size = params.image_size
    base = weights.resnet50(size, top=False)
    head = build_head(params.head)
    source = weights.load(root / "data/weights", base)
    frozen = backbone.freeze_count(base, freeze)
    backbone.freeze_first(base, frozen)
    backbone.set_batch_norm_momentum(base, training.batch_norm_momentum)
    if batch_norm == "batch":
        base = backbone.with_batch_statistics(base)
    model = backbone.image_model(base, size, params.input_range, head)
    images = {part: open_images(root / "data/images", size, part) for part in PARTS}
    images["train"] = images["train"].sample(training.images, params.seed)
    kept = checkpoint(
        root,
        stage,
        params.model_dump(include={*SHARED, "image_size", "input_range"}, mode="json")
        | {"training": training.model_dump(mode="json")}
        | {"freeze": freeze, "batch_norm": batch_norm},
        [root / "data/weights" / weights.WEIGHTS_FILE, images["train"].path],
    )
    history = fit(
        model,
        batches_of(images["train"], training.batch_size, params.seed),
        batches_of(images["validation"], predict_batch(size)),
        training,
        kept,
        training.patience,
    )
    parts = {part: Predictions(some.labels, predict(model, some)) for part, some in images.items()}
    return Trained(model, history, parts, source, frozen, kept)


def batches_of(images: Images, batch_size: int, seed: int | None = None) -> Batches:
    """Return batches of images and labels, shuffled where there is a seed."""
    return Batches(images.batch, images.labels, batch_size, seed)


def metrics_of(trained: Trained) -> Metrics:
    """Return everything that `metrics/{mode}.json` holds."""
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
            "images_seen": trained.history.epochs * len(trained.parts["train"].labels),
            "weights": trained.source.name,
            "layers_frozen": trained.layers_frozen,
        }
    )


def write_results(root: Path, mode: str, trained: Trained) -> str:
    """Write a mode's model, metrics and results, forget its checkpoint; return a line about it."""
    model_path = root / f"data/models/{mode}.weights.h5"
    require_space(model_path.parent, 4 * trained.model.count_params())
    with atomic_folder(root / f"data/results/{mode}") as results:
        trained.history.write(results / "history.csv")
        write_csv(results / "confusion.csv", ("actual", "predicted"), _named(trained.parts["test"]))
    with atomic_file(model_path) as scratch:
        uncompiled(trained.model).save_weights(scratch)
    metrics = metrics_of(trained)
    write_json(root / f"metrics/{mode}.json", metrics)
    trained.kept.clear()
    return (
        f"test accuracy {metrics['test_accuracy']:.4f} "
        f"[{metrics['test_accuracy_low']:.4f}, {metrics['test_accuracy_high']:.4f}], "
        f"{metrics['parameters_trainable']:,} parameters trained, weights: {metrics['weights']}"
    )


def _named(predictions: Predictions) -> list[tuple[str, str]]:
    """Return each image's actual and predicted class by name."""
    pairs = zip(predictions.labels, predictions.predicted, strict=True)
    return [(CLASS_NAMES[actual], CLASS_NAMES[predicted]) for actual, predicted in pairs]
