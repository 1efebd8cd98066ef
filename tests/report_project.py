"""A made-up project through its last stage but one: what the report is made of."""

import shutil
from pathlib import Path

import numpy as np
from conftest import ROOT, gray_images
from thaw.training.modes import PREDICTION_COLUMNS

from thaw.config.params import Params
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import SMALL, Images, open_images, write_images
from thaw.data.splits import make_splits
from thaw.findings.evaluation import key, reliability, wilson_interval
from thaw.report import drawing
from thaw.report.results import MODES
from thaw.support.tables import write_csv, write_json
from tools.study.__main__ import load_sets, table


def scores(accuracy: float, low: float, high: float) -> dict[str, float | int]:
    return {
        "test_accuracy": accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_images": 100,
        "train_images": 50,
    }


def mode_metrics(trained: int, wrong: int) -> dict[str, float | int | str]:
    """Return a mode's metrics, of which the first `wrong` images' answers are wrong: `answers`."""
    right = SURE - wrong
    confidence = np.array([0.9 - image / 1000 for image in range(SURE)])
    bins = reliability(confidence, np.arange(SURE) >= wrong)
    by_class = {
        f"test_accuracy_{key(name)}": 1 - sum(image % 10 == label for image in range(wrong)) / 10
        for label, name in enumerate(CLASS_NAMES)
    }
    return (
        scores(right / SURE, *wilson_interval(right, SURE))
        | by_class
        | {
            "generalization_gap": 0.05,
            "train_accuracy": 0.8,
            "validation_accuracy": 0.75,
            "test_loss": 0.5,
            "calibration_error": sum(n * abs(sure - share) for sure, share, n in bins) / SURE,
            "parameters": trained + 100,
            "parameters_trainable": trained,
            "parameters_non_trainable": 100,
            "validation_images": 20,
            "head_warmup_epochs": 1,
            "epochs": 2,
            "best_epoch": 2,
            "images_seen": 150,
            "layers_frozen": 10,
            "seeds": 1,
            "weights": "random",
            "train_image_6_label": "Sneaker",
            "train_image_6_probability": 0.9,
        }
    )


def baseline_metrics() -> dict[str, float | int | str | bool]:
    metrics: dict[str, float | int | str | bool] = {"chance_accuracy": 0.1, "weights": "random"}
    metrics |= {"has_1000_class_top": True, "zero_shot_images": 50, "zero_shot_image_size": 64}
    metrics |= {"linear_pixels_train_images": 1_000, "linear_pixels_test_images": SURE}
    counts = {"linear_pixels": SURE, "byte_zero_shot": 50, "unit_zero_shot": 50}
    for name, count in counts.items():
        ends = zip(("_low", "_high"), wilson_interval(count // 2, count), strict=True)
        metrics |= {f"{name}_accuracy": 0.5} | {f"{name}_accuracy{end}": at for end, at in ends}
    for value_range in ("0-255", "0-1"):
        for rank in (1, 2, 3):
            said = f"{value_range}_train_image_6_top{rank}"
            metrics |= {f"{said}_class": "clog", f"{said}_probability": 0.3}
    return metrics


def cell_metrics() -> dict[str, float]:
    """Return what metrics/diagnose.json has of `CELLS`."""
    return {
        f"freeze_{'_'.join(cell[:3])}_{name}": value
        for cell in CELLS
        for name, value in zip(CELL_ENDS, cell[3:], strict=True)
    }


CELL_COLUMNS = ("freeze", "value_range", "statistics")
CELL_ENDS = ("train_accuracy", "validation_accuracy", "validation_loss", "statistics_shift")
CELLS = [
    ("175", "0-255", "inference", 0.81, 0.77, 0.9, 0.0),
    ("175", "0-255", "training", 0.78, 0.57, 1.5, 0.4),
    ("175", "0-1", "inference", 0.11, 0.12, 2.3, 0.0),
    ("175", "0-1", "training", 0.69, 0.10, 3.2, 1.2),
]
SURE = 100
"""Test images; the first of them is wrong."""


def make(root: Path, params: Params) -> Path:
    """Write a project's metrics and results to `root`, and the plots that are drawn from them."""
    asked = params.model_copy(
        update={"samples": params.samples.model_copy(update={"test": SURE, "train": 50})}
    )
    splits = make_splits(gray_images(80), gray_images(SURE, seed=1), asked.samples)
    write_images(root / "data/images/rgb32.h5", splits, SMALL)
    test = open_images(root / "data/images", SMALL, "test")
    (root / "tools/study").mkdir(parents=True)
    for name in ("params.yaml", "requirements.lock", "tools/study/published.csv"):
        shutil.copy(ROOT / name, root / name)
    diagnose: dict[str, object] = {"byte_input_deviation": 75.0, "unit_input_deviation": 0.3}
    diagnose |= {"train_images": 20, "validation_images": 20, "epochs": 2, "weights": "random"}
    metrics = {"baseline": baseline_metrics(), "diagnose": diagnose | cell_metrics()}
    metrics |= {mode: mode_metrics(1_000_000 + i, _wrong(i)) for i, mode in enumerate(MODES)}
    for name, content in metrics.items():
        write_json(root / f"metrics/{name}.json", content)
    folder = root / "data/results"
    write_csv(folder / "diagnose/cells.csv", (*CELL_COLUMNS, *CELL_ENDS), CELLS)
    write_csv(folder / "diagnose/history.csv", (*CELL_COLUMNS, "epoch"), [])
    shifts = [(*cell[:3], layer, cell[-1]) for cell in CELLS for layer in ("bn1", "bn2")]
    write_csv(folder / "diagnose/shifts.csv", (*CELL_COLUMNS, "layer", "statistics_shift"), shifts)
    for i, mode in enumerate(MODES):
        curve = [(epoch, 1 / epoch, 0.5, 2 / epoch, 0.4) for epoch in (1, 2)]
        header = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
        write_csv(folder / mode / "history.csv", header, curve)
        write_csv(folder / mode / "predictions.csv", PREDICTION_COLUMNS, answers(test, _wrong(i)))
    columns = ("value_range", "test_image", "label", "rank", "imagenet_class", "probability")
    named = [("0-255", position, "", 1, "clog", 0.3) for position in test.positions[:50]]
    write_csv(folder / "baseline/predictions.csv", columns, named)
    for value_range in ("0-255", "0-1"):
        shares = [("clog", 1.0)]
        write_csv(folder / f"baseline/top1_{value_range}.csv", ("imagenet_class", "share"), shares)
    np.save(folder / "baseline/train_image_6.npy", np.zeros((64, 64, 3), np.uint8))
    (root / "plots").mkdir()
    drawing.draw(root, root / "plots")
    return root


def _wrong(mode: int) -> int:
    """Return how many test images a mode, by its place, gets wrong."""
    return 10 * mode + 1


def answers(test: Images, wrong: int) -> list[tuple[int, int, str, str, float]]:
    """Return predictions.csv's rows: the first `wrong` images are called the next class."""
    rows = []
    for image, label in enumerate(test.labels):
        said = CLASS_NAMES[(label + (image < wrong)) % 10]
        rows.append((0, image, CLASS_NAMES[label], said, 0.9 - image / 1000))
    return rows


def write_study(root: Path) -> None:
    """Write the tables of the sets that the report shows, as `python -m tools.study` would."""
    linear = dict.fromkeys(drawing.LINEAR.values(), 0.8) | {"linear_pixels_train_images": 58_000}
    mode = {"train_images": 58_000, "epochs": 4, "weights": "bundled 01234567"}
    mode |= dict.fromkeys(drawing.CURVE.values(), 0.8) | {"parameters_trainable": 1_000}
    mode["layers_frozen"] = 10
    origin = {"seed": 0, "threads": 1, "commit": "0123456789"}
    for name, chosen in load_sets().items():
        if name == "curve" or name.startswith("full-data"):
            metrics = linear if name == "full-data-linear" else mode
            measured = list(table(chosen, metrics))
            rows = [{"run": run, **row, **origin} for run in chosen.runs for row in measured]
            lines = [list(row.values()) for row in rows]
            write_csv(root / f"tools/study/results/{name}.csv", list(rows[0]), lines)
