"""The notebooks' mistakes, switched on and off one by one on a frozen base."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from thaw import backbone, weights
from thaw.evaluation import Metrics
from thaw.features import predict
from thaw.heads import build_head
from thaw.images import Images, open_images
from thaw.inference import batch_size
from thaw.params import BATCH_NORMS, INPUT_RANGES, Params
from thaw.runtime import configure
from thaw.training import Batches, Checkpoint, History, checkpoint, fit

DEVIATION_IMAGES = 256
Cells = dict[tuple[str, str], History]


def diagnose(root: Path, params: Params) -> tuple[Cells, Metrics, list[Checkpoint]]:
    """Train the notebook's head in each of the 2 x 2 cells: input range x frozen batch norm.

    Returns:
        Each cell's history, and the metrics: train and validation accuracy after the last epoch, as
        the notebooks saw them, and how much the pictures still vary, as the standard deviation
        (of 0..255 levels) of what `preprocess_input` returns; and the cells' checkpoints, to be
        cleared once the results are written.

    """
    configure(params.seed, params.threads)
    train, validation = _sample(root, params)
    cells, metrics, kept = {}, _setup(root, params), []
    for input_range in INPUT_RANGES:
        metrics[f"{input_range}_input_deviation"] = _deviation(train, input_range)
        for batch_norm in BATCH_NORMS:
            print(f"cell: {input_range} input, {batch_norm} statistics", flush=True)
            kept.append(_checkpoint(root, params, train, f"{input_range}-{batch_norm}"))
            history = _fit_cell(
                root, params, (train, validation), input_range, batch_norm, kept[-1]
            )
            cells[input_range, batch_norm] = history
            name, last = f"{input_range}_{batch_norm}", history.rows[-1]
            metrics[f"{name}_train_accuracy"] = last["accuracy"]
            metrics[f"{name}_validation_accuracy"] = last["val_accuracy"]
            metrics[f"{name}_validation_loss"] = last["val_loss"]
    return cells, metrics, kept


def _setup(root: Path, params: Params) -> Metrics:
    return {
        "weights": weights.load_source(root / "data/weights").name,
        "train_images": params.diagnose.images,
        "validation_images": params.diagnose.validation_images,
        "epochs": params.diagnose.epochs,
    }


def _sample(root: Path, params: Params) -> tuple[Images, Images]:
    counts = {"train": params.diagnose.images, "validation": params.diagnose.validation_images}
    train, validation = (
        open_images(root / "data/images", params.image_size, part).sample(count, params.seed)
        for part, count in counts.items()
    )
    return train, validation


def _deviation(images: Images, input_range: str) -> float:
    """Return the standard deviation over pixels of what reaches ResNet50, averaged over images."""
    pixels = images.batch(slice(0, DEVIATION_IMAGES))
    seen = keras.ops.convert_to_numpy(backbone.preprocess(pixels, input_range))
    return float(seen.std(axis=(1, 2)).mean(dtype=np.float64))


def _fit_cell(
    root: Path,
    params: Params,
    images: tuple[Images, Images],
    input_range: str,
    batch_norm: str,
    kept: Checkpoint,
) -> History:
    """Train one cell, every one from the same seed."""
    keras.utils.set_random_seed(params.seed)
    settings = params.diagnose
    base, features = backbone.feature_model(params.image_size, input_range)
    weights.load(root / "data/weights", base)
    base.trainable = False
    head = build_head(settings.head)
    if batch_norm == "stored":  # features do not change: one pass over the images is enough
        model = head
        read: list[Any] = [predict(features, some).__getitem__ for some in images]
    else:
        batch_base = backbone.with_batch_statistics(base)
        model = backbone.image_model(batch_base, params.image_size, input_range, head)
        read = [some.batch for some in images]
    train = Batches(read[0], images[0].labels, settings.batch_size, params.seed)
    validation = Batches(read[1], images[1].labels, batch_size(params.image_size, "keras"))
    return fit(model, train, validation, settings, kept)


def _checkpoint(root: Path, params: Params, images: Images, cell: str) -> Checkpoint:
    used = {"seed", "threads", "image_size", "diagnose"}
    files = [root / "data/weights" / weights.WEIGHTS_FILE, images.path]
    return checkpoint(root, f"diagnose-{cell}", params.model_dump(include=used, mode="json"), files)
