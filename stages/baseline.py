"""Stage baseline: what ResNet50 says before any retraining, a linear classifier, chance.

Reads   data/images/  data/weights/
Writes  metrics/baseline.json
        data/results/baseline/  top1_0-255.csv, top1_0-1.csv: the commonest ImageNet classes
            predictions.csv: the likeliest of each test image; train_image_6.npy
"""

from pathlib import Path

from thaw.config.fields import VALUE_RANGES
from thaw.config.load import load_params
from thaw.config.params import Params
from thaw.config.stages import BaselineConfig
from thaw.data.image_store import SMALL, Images, open_images
from thaw.findings import baseline, evaluation
from thaw.network import weights
from thaw.network.backbone import image_model
from thaw.network.inference import predict
from thaw.support.files import atomic_folder
from thaw.support.runtime import set_up
from thaw.support.stage import run
from thaw.support.tables import write_csv, write_json


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    set_up(params.threads)
    source = weights.load_source(root / "data/weights")
    images = root / "data/images"
    size = params.baseline.image_size
    test = open_images(images, size, "test").sample(params.baseline.images, params.seed)
    example = open_images(images, size, "examples").first(1)
    named = _name(root, test, example) if source.top else {}
    metrics = _linear(root, params) | {"weights": source.name, "has_1000_class_top": source.top}
    if named:
        metrics |= baseline.naming_metrics(named, test.labels) | {"zero_shot_image_size": size}
    with atomic_folder(root / "data/results/baseline") as results:
        _write_tables(results, named, test)
        baseline.save_image(results / "train_image_6.npy", example)
    write_json(root / "metrics/baseline.json", metrics)
    zero_shot = metrics.get("byte_zero_shot_accuracy", "none, the weights have no 1000-class top")
    return f"linear on pixels {metrics['linear_pixels_accuracy']:.4f}, zero-shot {zero_shot}"


def _write_tables(
    folder: Path, named: dict[str, baseline.ImageNetPredictions], test: Images
) -> None:
    rows = [
        row
        for value_range, answers in named.items()
        for row in baseline.prediction_rows(value_range, answers, test)
    ]
    write_csv(folder / "predictions.csv", baseline.PREDICTION_COLUMNS, rows)
    for value_range in VALUE_RANGES:
        shares = baseline.share_rows(named[value_range]) if named else [("no 1000-class top", 0.0)]
        write_csv(folder / f"top1_{value_range}.csv", ("imagenet_class", "share"), shares)


def _linear(root: Path, params: Params) -> evaluation.Metrics:
    train = open_images(root / "data/images", SMALL, "train")
    test = open_images(root / "data/images", SMALL, "test")
    some = train.sample(params.baseline.linear_images, params.seed)
    return baseline.linear_accuracy(some, test, params.threads)


def _name(root: Path, test: Images, example: Images) -> dict[str, baseline.ImageNetPredictions]:
    network = weights.resnet50(test.size, top=True)
    weights.load(root / "data/weights", network)
    named = {}
    for value_range in VALUE_RANGES:
        model = image_model(network, test.size, value_range)
        named[value_range] = baseline.ImageNetPredictions(
            predict(model, test), predict(model, example)
        )
    return named


if __name__ == "__main__":
    run("baseline", main, BaselineConfig.memory_needed)
