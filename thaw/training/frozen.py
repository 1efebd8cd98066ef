"""train-frozen: fit a head on features that the frozen backbone computed once."""

from collections.abc import Mapping
from pathlib import Path

import keras
from numpy.typing import NDArray

from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.stages import TrainFrozenConfig
from thaw.data.dataset import Dataset, read_dataset
from thaw.data.splits import stratified
from thaw.network import backbone, weights
from thaw.network.features import load_features
from thaw.network.heads import build_head
from thaw.network.predictions import Predictions
from thaw.support import paths
from thaw.training.batches import ArrayBatches
from thaw.training.checkpoint import open_checkpoint, uncompiled
from thaw.training.costs import cost
from thaw.training.fitting import HEAD_STEPS, class_weights, fit
from thaw.training.live import LiveCurves
from thaw.training.result import TrainingResult

BATCH = 256
"""Features in a batch that the head predicts."""
Features = Mapping[str, tuple[NDArray, NDArray]]


def train_frozen(root: Path, config: TrainFrozenConfig) -> TrainingResult:
    """Fit the head on cached features, and put it on top of the frozen backbone.

    The backbone's batch normalisation uses its moving statistics, so the result is what fitting the
    whole frozen model would give, except that dropout draws different masks. It takes one pass over
    the images instead of one for each epoch.

    Args:
        root: the project's folder, with the features and the weights.
        config: the stage's params.

    Raises:
        ThawError: the features or the weights are missing or damaged, or the training diverges.

    """
    training = config.train_frozen
    dataset = read_dataset(root / paths.IMAGES)
    features = _load(root, config, dataset)
    checkpoint = open_checkpoint(
        root, f"train-frozen-{config.seed}", config.dump(), [root / paths.FEATURES]
    )
    classes = len(dataset.classes)
    fast_head = build_head(config.head, classes, config.seed, fast=True)
    history = fit(
        uncompiled(fast_head),
        ArrayBatches(*features["train"], training.batch_size, config.seed),
        ArrayBatches(*features["validation"], BATCH),
        training,
        checkpoint,
        training.patience,
        label_smoothing=training.label_smoothing,
        class_weight=class_weights(features["train"][1], config.class_weight),
        steps_per_execution=HEAD_STEPS,
        live=LiveCurves(root, "frozen"),
    )
    head = build_head(
        config.head, classes, config.seed
    )  # Keras' own layers, so that Keras can load it
    head.set_weights(fast_head.get_weights())
    base = weights.resnet50(config.image_size, top=False)
    source = weights.load(root / paths.WEIGHTS, base)
    backbone.freeze_first(base, BACKBONE_LAYERS)
    return TrainingResult(
        model=backbone.image_model(base, config.image_size, config.value_range, head),
        history=history,
        predictions={split: _predict(head, *some) for split, some in features.items()},
        source=source,
        seed=config.seed,
        layers_frozen=BACKBONE_LAYERS,
        frozen_through=backbone.frozen_through(base, BACKBONE_LAYERS),
        macs=len(features["train"][1]) * cost(base, BACKBONE_LAYERS, epochs=1, cached=True),
        checkpoint=checkpoint,
    )


def _load(root: Path, config: TrainFrozenConfig, dataset: Dataset) -> Features:
    """Return the features (n, 2048) float32 and labels (n,) int64 of each split."""
    features = {
        split: load_features(root / paths.FEATURES, split, len(dataset.classes))
        for split in dataset.splits
    }
    if count := config.train_frozen.images:  # 0 means all of them, and no copy
        values, labels = features["train"]
        chosen, _ = stratified(labels, count, config.seed)
        features["train"] = (values[chosen], labels[chosen])
    return features


def _predict(head: keras.Model, features: NDArray, labels: NDArray) -> Predictions:
    in_order = ArrayBatches(features, labels, BATCH).to_dataset()
    return Predictions(labels, head.predict(in_order, verbose=0))
