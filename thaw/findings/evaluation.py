"""The metrics of a trained classifier, computed from its predictions."""

from collections.abc import Mapping, Sequence

import numpy as np

from thaw.data.dataset import PARTS, Dataset
from thaw.findings import scores
from thaw.network.predictions import Predictions

Metrics = dict[str, float | int | str]
_SMALLEST = np.finfo(np.float32).tiny
"""The smallest normal float32. Probabilities are clipped to it, so the loss stays finite."""


def accuracy(predictions: Predictions) -> float:
    """Return the share of correct predictions, in [0, 1]."""
    return float(predictions.correct.mean())


def cross_entropy(predictions: Predictions) -> float:
    """Return the mean negative log probability of the right class, in nats."""
    right = predictions.probabilities[np.arange(len(predictions.labels)), predictions.labels]
    # In float64, because a float32 sum over many images would lose digits.
    return float(-np.log(np.maximum(right, _SMALLEST, dtype=np.float64)).mean())


def classifier_metrics(predictions: Mapping[str, Predictions]) -> Metrics:
    """Return the metrics of a trained classifier.

    Args:
        predictions: the classifier's on each of `PARTS`.

    """
    test = predictions["test"]
    confidence = test.probabilities.max(axis=1).astype(np.float64)
    metrics: Metrics = {
        "generalization_gap": accuracy(predictions["train"]) - accuracy(predictions["validation"])
    }
    for name in PARTS:
        metrics[f"{name}_accuracy"] = accuracy(predictions[name])
        metrics[f"{name}_loss"] = cross_entropy(predictions[name])
        metrics[f"{name}_images"] = len(predictions[name].labels)
    return {**metrics, **scores.answer_metrics(test.labels, test.predicted, confidence)}


def seed_metrics(runs: Sequence[Mapping[str, Predictions]]) -> Metrics:
    """Return the number of seeds and, if there are several, the spread of the accuracy over them.

    Args:
        runs: the predictions of each seed's model on `validation` and `test`.

    """
    metrics: Metrics = {"seeds": len(runs)}
    for split in ("validation", "test") if len(runs) > 1 else ():
        metrics |= scores.spread_metrics(split, [run[split].correct for run in runs])
    return metrics


def example_metrics(examples: Predictions, dataset: Dataset) -> Metrics:
    """Return the predicted label of single images, and its probability.

    Args:
        examples: the predictions, one for each of `dataset.examples`.
        dataset: names the images in the metrics, such as `train_image_6`, and the classes.

    """
    metrics: Metrics = {}
    rows = zip(dataset.examples, examples.predicted, examples.probabilities, strict=True)
    for name, label, row in rows:
        metrics[f"{name}_label"] = dataset.classes[label]
        metrics[f"{name}_probability"] = float(row[label])
    return metrics
