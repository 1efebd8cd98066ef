"""train-full and train-partial: fit the head and the layers of the backbone that are thawed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.stages import FineTuneConfig
from thaw.data.dataset import read_dataset
from thaw.data.image_store import Images, open_images
from thaw.network import backbone, weights
from thaw.network.heads import build_head
from thaw.network.inference import batch_size, predict
from thaw.network.predictions import Predictions
from thaw.support import paths
from thaw.support.runtime import seed_everything
from thaw.training import activation_cache
from thaw.training.accumulation import accumulation_steps
from thaw.training.activation_cache import CachePlan
from thaw.training.augmentation import augmentation
from thaw.training.batches import ArrayBatches, Batches
from thaw.training.checkpoint import Checkpoint, open_checkpoint
from thaw.training.costs import cost
from thaw.training.fitting import class_weights, fit, warm_up_head
from thaw.training.history import History
from thaw.training.live import LiveCurves
from thaw.training.optimizers import build_optimizer
from thaw.training.result import TrainingResult

Splits = Mapping[str, Images]
LoadBatch = Mapping[str, Callable[..., Any]]
"""For each split, a function from positions to the inputs of the images there."""


@dataclass(frozen=True)
class _Network:
    """The network to train, and the size of its batches."""

    base: keras.Model
    head: keras.Model
    source: weights.Source
    frozen: int
    batch_size: int
    accumulation_steps: int


def fine_tune(root: Path, config: FineTuneConfig) -> TrainingResult:
    """Fit the head and the layers of the backbone that `config.thawing` does not freeze.

    An interrupted run resumes from its checkpoint.

    Args:
        root: the project's folder.
        config: the stage's params.

    Raises:
        ThawError: an input is missing or damaged, the training diverges, or the batches need
            micro-batches in float16.

    """
    seed_everything(config.seed)
    images = _open_splits(root, config)
    network = _build(root, config, images["train"])
    warmup_epochs = _warm_up(config, network, images["train"])
    plan = _plan(config, network, images)
    base = network.base
    if config.thawing.frozen_batch_norm == "training":
        base = backbone.with_batch_statistics(base)
    model = backbone.image_model(base, config.image_size, config.value_range, network.head)
    files = [root / paths.WEIGHTS / weights.WEIGHTS_FILE, images["train"].path]
    checkpoint = open_checkpoint(root, f"{config.stage}-{config.seed}", config.dump(), files)
    if plan.cache:
        trained, load_batch = _cached(root, config, network, images)
    else:
        trained, load_batch = model, {split: some.batch for split, some in images.items()}
    live = LiveCurves(root, config.stage.removeprefix("train-"))
    history = _fit(config, network, images, trained, load_batch, checkpoint, live)
    seen = len(images["train"])
    macs = seen * cost(base, network.frozen, history.epochs, plan.cache)
    if warmup_epochs:  # the warm-up runs every image through the whole backbone once
        macs += seen * cost(base, BACKBONE_LAYERS, 1, cached=True)
    return TrainingResult(
        model=model,
        history=history,
        predictions={
            split: Predictions(some.labels, predict(model, some)) for split, some in images.items()
        },
        source=network.source,
        seed=config.seed,
        layers_frozen=network.frozen,
        frozen_through=backbone.frozen_through(base, network.frozen),
        macs=macs,
        checkpoint=checkpoint,
        head_warmup_epochs=warmup_epochs,
    )


def _open_splits(root: Path, config: FineTuneConfig) -> Splits:
    folder = root / paths.IMAGES
    splits = read_dataset(folder).splits
    images = {split: open_images(folder, config.image_size, split) for split in splits}
    return images | {"train": images["train"].sample(config.training.images, config.seed)}


def _build(root: Path, config: FineTuneConfig, train: Images) -> _Network:
    """Return the pretrained backbone, with its first layers frozen, and a new head."""
    base = backbone.for_training(weights.resnet50(config.image_size, top=False))
    source = weights.load(root / paths.WEIGHTS, base)
    frozen = backbone.freeze_count(base, config.thawing.freeze)
    backbone.freeze_first(base, frozen)
    batch = min(config.training.batch_size, len(train))
    # If only the head trains, whole batches fit in memory.
    limit = config.microbatch_pixels if frozen < BACKBONE_LAYERS else 0
    steps = accumulation_steps(batch, config.image_size, limit, config.precision)
    # The momentum in params.yaml is for a whole batch, but every micro-batch moves the statistics.
    backbone.set_batch_norm_momentum(base, config.training.batch_norm_momentum ** (1 / steps))
    head = build_head(config.head, len(read_dataset(root / paths.IMAGES).classes), config.seed)
    return _Network(base, head, source, frozen, batch, steps)


def _warm_up(config: FineTuneConfig, network: _Network, train: Images) -> int:
    """Fit only the head, on the pretrained features; return the number of epochs."""
    warmup = config.training.head_warmup
    if warmup.epochs:
        features = backbone.image_model(network.base, config.image_size, config.value_range)
        pooled = predict(features, train)
        batches = ArrayBatches(pooled, train.labels, config.training.batch_size, config.seed)
        loss = warm_up_head(network.head, batches, warmup)
        print(f"head warm-up: {warmup.epochs} epochs, loss {loss:.4f}", flush=True)
    return warmup.epochs


def _plan(config: FineTuneConfig, network: _Network, images: Splits) -> CachePlan:
    count = len(images["train"]) + len(images["validation"])
    plan = activation_cache.plan_cache(
        network.base,
        network.frozen,
        count,
        config.training,
        config.thawing.frozen_batch_norm,
        config.thawing.cache_gb,
    )
    if network.frozen:
        print(f"frozen layers' output: {plan}", flush=True)
    return plan


def _cached(
    root: Path, config: FineTuneConfig, network: _Network, images: Splits
) -> tuple[keras.Model, LoadBatch]:
    """Return the model that is left to train, and the functions that read its inputs."""
    prefix, suffix = backbone.split_at(network.base, network.frozen)
    trained = keras.Model(suffix.inputs, network.head(suffix.output), name="suffix")
    # The test split is predicted once, by the whole model, so it needs no cache.
    fitted = {split: images[split] for split in ("train", "validation")}
    load_batch = activation_cache.cached(
        root,
        prefix,
        config.image_size,
        config.value_range,
        fitted,
        config.thawing.engine,
        config.thawing.engine_precision,
    )
    return trained, load_batch


def _fit(
    config: FineTuneConfig,
    network: _Network,
    images: Splits,
    trained: keras.Model,
    load_batch: LoadBatch,
    checkpoint: Checkpoint,
    live: LiveCurves,
) -> History:
    training = config.training
    train = Batches(
        load_batch["train"],
        images["train"].labels,
        network.batch_size,
        config.seed,
        augmentation(training.augment, images["train"].gray),
        network.accumulation_steps,
    )
    validation = Batches(
        load_batch["validation"],
        images["validation"].labels,
        batch_size(config.image_size, "keras"),
    )
    return fit(
        trained,
        train,
        validation,
        training,
        checkpoint,
        training.patience,
        build_optimizer(training, train.steps, network.accumulation_steps),
        training.label_smoothing,
        class_weight=class_weights(images["train"].labels, config.class_weight),
        live=live,
    )
