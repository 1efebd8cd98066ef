"""A made-up project through its last stage but one: what the report is made of."""

import re
import shutil
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from conftest import ROOT, gray_images

from thaw.config.params import Params
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import SMALL, Images, open_images, write_images
from thaw.data.splits import make_splits
from thaw.findings.calibration import calibration_curve
from thaw.findings.cells import LEVELS, CellRow, nested
from thaw.findings.classifier_results import PREDICTION_COLUMNS
from thaw.findings.intervals import share_metrics
from thaw.report import studies
from thaw.report.contents import gather
from thaw.report.drawing import draw
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
    bins = calibration_curve(confidence, np.arange(SURE) >= wrong)
    names = [re.sub(r"\W", "_", name.lower()) for name in CLASS_NAMES]
    by_class = {
        f"test_accuracy_{name}": 1 - sum(image % 10 == label for image in range(wrong)) / 10
        for label, name in enumerate(names)
    }
    return (
        scores(*share_metrics("test_accuracy", right, SURE).values())
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


def baseline_metrics() -> dict[str, Any]:
    named: dict[str, float | str] = share_metrics("zero_shot_accuracy", 25, 50)  # type: ignore[assignment]
    for rank in (1, 2, 3):
        said = f"train_image_6_top{rank}"
        named |= {f"{said}_class": "clog", f"{said}_probability": 0.3}
    return {
        "chance_accuracy": 0.1,
        "weights": "random",
        "has_1000_class_top": True,
        "zero_shot_images": 50,
        "zero_shot_image_size": 64,
        "linear_pixels_train_images": 1_000,
        "linear_pixels_test_images": SURE,
        **share_metrics("linear_pixels_accuracy", SURE // 2, SURE),
        "0-255": named,
        "0-1": named,
    }


CELLS = [
    CellRow(175, "0-255", "inference", 0.81, 0.77, 0.9, 0.0),
    CellRow(175, "0-255", "training", 0.78, 0.57, 1.5, 0.4),
    CellRow(175, "0-1", "inference", 0.11, 0.12, 2.3, 0.0),
    CellRow(175, "0-1", "training", 0.69, 0.10, 3.2, 1.2),
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
    diagnose = {
        **{"weights": "random", "train_images": 20, "validation_images": 20, "epochs": 2},
        **{"0-255": {"input_deviation": 75.0}, "0-1": {"input_deviation": 0.3}},
        "cells": nested(CELLS),
    }
    metrics: dict[str, dict[str, Any]] = {"baseline": baseline_metrics(), "diagnose": diagnose}
    metrics |= {mode: mode_metrics(1_000_000 + i, _wrong(i)) for i, mode in enumerate(MODES)}
    for name, content in metrics.items():
        write_json(root / f"metrics/{name}.json", content)
    folder = root / "data/results"
    columns = [field.name for field in fields(CellRow)]
    write_csv(folder / "diagnose/cells.csv", columns, map(astuple, CELLS))
    write_csv(folder / "diagnose/history.csv", (*LEVELS, "epoch"), [])
    shifts = [
        (cell.freeze, cell.value_range, cell.statistics, layer, cell.statistics_shift)
        for cell in CELLS
        for layer in ("bn1", "bn2")
    ]
    write_csv(folder / "diagnose/shifts.csv", (*LEVELS, "layer", "statistics_shift"), shifts)
    for i, mode in enumerate(MODES):
        curve = [(epoch, 1 / epoch, 0.5, 2 / epoch, 0.4) for epoch in (1, 2)]
        header = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
        write_csv(folder / mode / "history.csv", header, curve)
        write_csv(folder / mode / "predictions.csv", PREDICTION_COLUMNS, answers(test, _wrong(i)))
    header = ("value_range", "test_image", "label", "rank", "imagenet_class", "probability")
    named = [("0-255", position, "", 1, "clog", 0.3) for position in test.positions[:50]]
    write_csv(folder / "baseline/predictions.csv", header, named)
    for value_range in ("0-255", "0-1"):
        shares = [("clog", 1.0)]
        write_csv(folder / f"baseline/top1_{value_range}.csv", ("imagenet_class", "share"), shares)
    np.save(folder / "baseline/train_image_6.npy", np.zeros((64, 64, 3), np.uint8))
    (root / "plots").mkdir()
    draw(root, gather(root), root / "plots")
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
    linear = dict.fromkeys(studies.LINEAR.values(), 0.8) | {"linear_pixels_train_images": 58_000}
    accuracies = ("test_accuracy", "test_accuracy_low", "test_accuracy_high")
    mode: dict[str, Any] = dict.fromkeys(accuracies, 0.8)
    mode |= {"train_images": 58_000, "epochs": 4, "weights": "bundled 01234567"}
    mode |= {"layers_frozen": 10, "frozen_through": "conv2"}
    mode |= {"parameters_trainable": 1_000, "training_macs": 10**12}
    origin = {"seed": 0, "threads": 1, "commit": "0123456789"}
    for name, chosen in load_sets().items():
        if name == "curve" or name.startswith("full-data"):
            metrics = linear if name == "full-data-linear" else mode
            measured = list(table(chosen, metrics))
            rows = [{"run": run, **row, **origin} for run in chosen.runs for row in measured]
            lines = [list(row.values()) for row in rows]
            write_csv(root / f"tools/study/results/{name}.csv", list(rows[0]), lines)
