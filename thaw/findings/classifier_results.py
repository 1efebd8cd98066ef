"""The files that a training stage writes: the model, its metrics, their summary and its tables."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from thaw.config.stages import FineTuneConfig, TrainFrozenConfig
from thaw.data.dataset import EXAMPLES, Dataset, read_dataset
from thaw.findings import evaluation, scores
from thaw.findings.evaluation import Metrics
from thaw.findings.headline import headline
from thaw.network.classifier import describe, save_classifier
from thaw.network.predictions import Predictions
from thaw.support import paths
from thaw.support.files import atomic_folder
from thaw.support.tables import write_csv, write_json
from thaw.training.checkpoint import uncompiled
from thaw.training.result import TrainingResult

PREDICTION_COLUMNS = ("seed", "image", "actual", "predicted", "confidence")
"""The columns of predictions.csv. `image` counts the images of the test split from 0, and
`confidence` is the probability of the predicted class."""
CONFIDENCE_DIGITS = 6
"""The decimal places of `confidence`."""


def classifier_metrics(result: TrainingResult, dataset: Dataset) -> Metrics:
    """Return the metrics of one training run, as summary.json holds them."""
    examples = {}
    if dataset.examples:
        examples = evaluation.example_metrics(result.predictions[EXAMPLES], dataset)
    total = result.model.count_params()
    # Keras has no call that counts the trainable parameters alone.
    trainable = sum(math.prod(weight.shape) for weight in result.model.trainable_weights)
    epochs = result.head_warmup_epochs + result.history.epochs
    return (
        evaluation.classifier_metrics(result.predictions)
        | examples
        | {
            "parameters": total,
            "parameters_trainable": trainable,
            "parameters_non_trainable": total - trainable,
            "epochs": result.history.epochs,
            "best_epoch": result.history.best_epoch,
            "head_warmup_epochs": result.head_warmup_epochs,
            "images_seen": epochs * len(result.predictions["train"].labels),
            "training_macs": result.macs,
            "weights": result.source.name,
            "layers_frozen": result.layers_frozen,
            "frozen_through": result.frozen_through,
        }
    )


def write_results(
    root: Path,
    mode: str,
    config: TrainFrozenConfig | FineTuneConfig,
    results: Iterable[TrainingResult],
) -> str:
    """Write a mode's model, metrics, summary and tables, and then clear its checkpoints.

    The model, the history and the metrics are those of the first seed. If there are several seeds,
    the summary also gives the mean and the standard deviation of the accuracy over them.

    Args:
        root: the project's folder.
        mode: `frozen`, `partial` or `full`.
        config: the stage's params.
        results: one result for each seed. They may be trained lazily, one after the other.

    Returns:
        One line about the first seed, for the terminal.

    """
    every: list[TrainingResult] = []
    for result in results:
        # Each model is large and only the first is saved, so the others are dropped at once.
        every.append(replace(result, model=every[0].model) if every else result)
    first = every[0]
    dataset = read_dataset(root / paths.IMAGES)
    summary = classifier_metrics(first, dataset) | evaluation.seed_metrics(
        [one.predictions for one in every]
    )
    with atomic_folder(root / paths.RESULTS / mode) as folder:
        write_json(folder / paths.SUMMARY, summary)
        first.history.write(folder / "history.csv")
        rows = (
            row
            for one in every
            for row in _rows(one.seed, one.predictions["test"], dataset.classes)
        )
        write_csv(folder / "predictions.csv", PREDICTION_COLUMNS, rows)
        test = first.predictions["test"]
        by_class = scores.class_metrics(test.labels, test.predicted, dataset.classes)
        write_csv(folder / "classes.csv", scores.CLASS_COLUMNS, by_class)
    description = describe(
        dataset, config.image_size, config.value_range, config.head, first.source.name
    )
    save_classifier(root / paths.MODELS / mode, uncompiled(first.model), description)
    write_json(root / paths.METRICS / f"{mode}.json", headline(mode, summary))
    # Last, so that a run interrupted while it writes can still resume from the checkpoints.
    for one in every:
        one.checkpoint.clear()
    return (
        f"test accuracy {summary['test_accuracy']:.4f} "
        f"[{summary['test_accuracy_low']:.4f}, {summary['test_accuracy_high']:.4f}], "
        f"{summary['parameters_trainable']:,} parameters trained, weights: {summary['weights']}"
    )


def _rows(
    seed: int, test: Predictions, classes: Sequence[str]
) -> Iterator[tuple[int, int, str, str, float]]:
    """Yield a row of `PREDICTION_COLUMNS` for each image."""
    rows = zip(test.labels, test.predicted, test.probabilities.max(axis=1), strict=True)
    for image, (actual, predicted, confidence) in enumerate(rows):
        names = classes[actual], classes[predicted]
        yield (seed, image, *names, round(float(confidence), CONFIDENCE_DIGITS))
