"""Stage baseline: ResNet50's answers before any retraining, a linear classifier, and chance.

Reads   data/images/  data/weights/
Writes  data/results/baseline/
            summary.json: the accuracies, and what ResNet50 says
            top1_0-255.csv, top1_0-1.csv: the commonest ImageNet classes by input range
            predictions.csv: the likeliest ImageNet classes of each test image
            train_image_6.npy: the picture of training image 6
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thaw.config.fields import VALUE_RANGES
from thaw.config.stages import BaselineConfig
from thaw.data.dataset import EXAMPLES, read_dataset
from thaw.data.image_store import SMALL, Images, open_images
from thaw.findings import baseline
from thaw.findings.baseline import ImageNetPredictions
from thaw.findings.evaluation import Metrics
from thaw.network import weights
from thaw.network.backbone import image_model
from thaw.network.inference import predict
from thaw.support import paths
from thaw.support.files import atomic_folder
from thaw.support.runtime import set_up
from thaw.support.stage import run
from thaw.support.tables import write_csv, write_json


def main(root: Path = Path()) -> str:
    """Run the stage in `root` and return one line about its results."""
    config = BaselineConfig.load(root)
    set_up(config.threads, config.instruction_set)
    source = weights.load_source(root / paths.WEIGHTS)
    test = open_images(root / paths.IMAGES, config.side, "test")
    test = test.sample(config.baseline.images, config.seed)
    dataset = read_dataset(root / paths.IMAGES)
    example = None
    if dataset.examples:  # the first is training image 6
        example = open_images(root / paths.IMAGES, config.side, EXAMPLES).first(1)
    # Without the 1000-class top, the network has no answers: only the other baselines remain.
    named = _name(root / paths.WEIGHTS, test, example) if source.top else {}
    summary: dict[str, Any] = {"weights": source.name, "has_1000_class_top": source.top}
    summary |= _linear(root, config)
    if named:
        summary |= baseline.naming_metrics(named, test.labels, dataset, config.side)
    with atomic_folder(root / paths.RESULTS / "baseline") as results:
        write_json(results / paths.SUMMARY, summary)
        _write_tables(results, named, test, dataset.classes)
        if example:
            baseline.save_image(results / "train_image_6.npy", example)
    zero_shot = summary.get("0-255", {}).get("zero_shot_accuracy", "does not apply")
    return f"linear on pixels {summary['linear_pixels_accuracy']:.4f}, zero-shot {zero_shot}"


def _write_tables(
    folder: Path, named: dict[str, ImageNetPredictions], test: Images, classes: Sequence[str]
) -> None:
    rows = [
        row
        for value_range, answers in named.items()
        for row in baseline.prediction_rows(value_range, answers, test, classes)
    ]
    write_csv(folder / "predictions.csv", baseline.PREDICTION_COLUMNS, rows)
    for value_range in VALUE_RANGES:
        # dvc.yaml plots these tables, so they need at least one row.
        shares = baseline.share_rows(named[value_range]) if named else [("no 1000-class top", 0.0)]
        write_csv(folder / f"top1_{value_range}.csv", ("imagenet_class", "share"), shares)


def _linear(root: Path, config: BaselineConfig) -> Metrics:
    train = open_images(root / paths.IMAGES, SMALL, "train")
    test = open_images(root / paths.IMAGES, SMALL, "test")
    some = train.sample(config.baseline.linear_images, config.seed)
    return baseline.linear_accuracy(some, test, config.threads)


def _name(folder: Path, test: Images, example: Images | None) -> dict[str, ImageNetPredictions]:
    """Return the predictions of ResNet50, with the weights in `folder`, by value range."""
    network = weights.resnet50(test.size, top=True)
    weights.load(folder, network)
    named = {}
    for value_range in VALUE_RANGES:
        model = image_model(network, test.size, value_range)
        shown = predict(model, example) if example else None
        named[value_range] = ImageNetPredictions(predict(model, test), shown)
    return named


if __name__ == "__main__":
    run("baseline", main, BaselineConfig.memory_needed)
