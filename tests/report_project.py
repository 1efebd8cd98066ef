"""A made-up project through its last stage but one: what the report is made of."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from conftest import ROOT, gray_images
from numpy.typing import NDArray

from thaw.config.params import Params
from thaw.data.dataset import Dataset, write_dataset
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import LARGE, SMALL, open_images, write_images
from thaw.data.splits import make_splits
from thaw.findings.calibration import calibration_curve
from thaw.findings.cells import LEVELS, CellRow, ShiftRow, nested
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


def mode_metrics(
    trained: int, wrong: int, labels: NDArray[np.int64], dataset: Dataset
) -> dict[str, float | int | str]:
    """Return a mode's metrics, of which the first `wrong` images' answers are wrong: `answers`."""
    count = len(labels)
    confidence = np.array([0.9 - image / max(1000, 2 * count) for image in range(count)])
    bins = calibration_curve(confidence, np.arange(count) >= wrong)
    return (
        scores(*share_metrics("test_accuracy", count - wrong, count).values())
        | macro_metrics(labels, wrong, len(dataset.classes))
        | {
            "test_images": count,
            "generalization_gap": 0.05,
            "train_accuracy": 0.8,
            "validation_accuracy": 0.75,
            "test_loss": 0.5,
            "calibration_error": sum(n * abs(sure - share) for sure, share, n in bins) / count,
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
        }
        | {f"{name}_label": "Sneaker" for name in dataset.examples}
        | {f"{name}_probability": 0.9 for name in dataset.examples}
    )


def macro_metrics(labels: NDArray[np.int64], wrong: int, classes: int) -> dict[str, float]:
    """Return macro recall and F1 of `answers`, from the counts of each class."""
    actual = np.bincount(labels, minlength=classes)
    right = np.bincount(labels[wrong:], minlength=classes)
    predicted = right + np.bincount((labels[:wrong] + 1) % classes, minlength=classes)
    there = actual > 0
    recall = right[there] / actual[there]
    return {
        "test_macro_recall": float(recall.mean()),
        "test_macro_f1": float((2 * right[there] / (actual + predicted)[there]).mean()),
    }


def baseline_metrics() -> dict[str, Any]:
    """Return Fashion-MNIST's."""
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
EXAMPLES = ("train_image_6", "test_image_0")
ANSWERS = ("seed", "image", "actual", "predicted", "confidence")


def make(root: Path, params: Params) -> Path:
    """Write a project's metrics and results to `root`, and the plots that are drawn from them."""
    dataset = Dataset(
        name="Fashion-MNIST",
        folder="fashion-mnist",
        fashion_mnist=True,
        gray=True,
        classes=CLASS_NAMES,
        counts={"train": 50, "validation": 20, "test": SURE},
        examples=EXAMPLES,
    )
    write_dataset(root / "data/images", dataset)
    asked = params.model_copy(
        update={"samples": params.samples.model_copy(update={"test": SURE, "train": 50})}
    )
    splits = make_splits(gray_images(80), gray_images(SURE, seed=1), asked.samples)
    write_images(root / "data/images/rgb32.h5", splits, SMALL)
    test = open_images(root / "data/images", SMALL, "test")
    folder = root / "data/results"
    folder.mkdir(parents=True)
    np.save(folder / "train_image_6.npy", np.zeros((64, 64, 3), np.uint8))
    diagnose = {
        **{"weights": "random", "train_images": 20, "validation_images": 20, "epochs": 2},
        **{"0-255": {"input_deviation": 75.0}, "0-1": {"input_deviation": 0.3}},
        "cells": nested(CELLS),
    }
    columns = [field.name for field in fields(CellRow)]
    write_csv(folder / "diagnose/cells.csv", columns, map(astuple, CELLS))
    write_csv(folder / "diagnose/history.csv", (*LEVELS, "epoch"), [])
    shifts = [
        (cell.freeze, cell.value_range, cell.statistics, layer, cell.statistics_shift)
        for cell in CELLS
        for layer in ("bn1", "bn2")
    ]
    write_csv(folder / "diagnose/shifts.csv", (*LEVELS, "layer", "statistics_shift"), shifts)
    metrics = {"baseline": baseline_metrics(), "diagnose": diagnose}
    _write_results(root, dataset, test.labels, test.positions, metrics)
    (folder / "train_image_6.npy").rename(folder / "baseline/train_image_6.npy")
    return _drawn(root)


def make_pictures(
    root: Path,
    sizes: Mapping[str, int],
    files: Sequence[str] = (),
    baseline: Mapping[str, Any] | None = None,
    name: str = "pictures",
    drawn: bool = True,
) -> Path:
    """Write a project on a folder of pictures, as `make` does.

    Args:
        root: where the project goes.
        sizes: how many test pictures each class has.
        files: the files of the first test pictures; by default made-up names.
        baseline: more of the baseline's metrics.
        name: the folder's name.
        drawn: whether the plots are drawn too.

    """
    classes, images = tuple(sizes), root / "data/images"
    labels = np.repeat(np.arange(len(classes)), list(sizes.values()))
    counts = {"train": 50, "validation": 20, "test": len(labels)}
    dataset = Dataset(
        name=name,
        folder=f"/home/me/{name}",
        fashion_mnist=False,
        gray=False,
        classes=classes,
        counts=counts,
        examples=(),
    )
    write_dataset(images, dataset)
    positions = np.arange(len(labels)) + 7  # of all pictures, those of train come first here
    with h5py.File(images / f"rgb{LARGE}.h5", "w") as file:
        file["test/labels"], file["test/positions"] = labels, positions
        side = (LARGE, LARGE, 3)
        stored = file.create_dataset(
            "test/images", (len(labels), *side), "u1", chunks=(1, *side), compression="lzf"
        )
        for row, label in enumerate(labels):
            stored[row] = photograph(int(label) % 11)
    named = [*files, *(f"folder/picture {i}.jpg" for i in range(len(files), len(labels)))]
    rows = [
        ("test", position, classes[label], file)
        for position, label, file in zip(positions, labels, named, strict=True)
    ]
    rows.append(("train", 7, classes[0], "of another part.jpg"))
    write_csv(images / "files.csv", ("split", "position", "class", "file"), rows)
    about = {
        "chance_accuracy": max(sizes.values()) / len(labels),
        "weights": "random",
        "has_1000_class_top": True,
        "linear_pixels_train_images": 1_000,
        "linear_pixels_test_images": len(labels),
        **share_metrics("linear_pixels_accuracy", len(labels) // 2, len(labels)),
        **{key: {"commonest_class": "clog", "commonest_share": 0.3} for key in ("0-255", "0-1")},
        **(baseline or {}),
    }
    for name, row in (("cells", CellRow), ("shifts", ShiftRow)):
        header = [field.name for field in fields(row)]
        write_csv(root / f"data/results/diagnose/{name}.csv", header, [])
    _write_results(root, dataset, labels, positions, {"baseline": about, "diagnose": {}})
    return _drawn(root) if drawn else root


@cache
def photograph(kind: int) -> NDArray[np.uint8]:
    """Return a picture, (224, 224, 3) uint8: slopes of colour, which `kind` turns."""
    slope = np.linspace(0, 255, LARGE)
    red, green = np.meshgrid(np.roll(slope, 20 * kind), slope)
    blue = np.full_like(red, 255 * (kind % 3) / 2)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def _write_results(
    root: Path,
    dataset: Dataset,
    labels: NDArray[np.int64],
    positions: NDArray[np.int64],
    metrics: dict[str, dict[str, Any]],
) -> None:
    """Write what the stages write for every dataset."""
    (root / "tools/study").mkdir(parents=True)
    for name in ("params.yaml", "requirements.lock", "tools/study/published.csv"):
        shutil.copy(ROOT / name, root / name)
    for i, mode in enumerate(MODES):
        metrics[mode] = mode_metrics(1_000_000 + i, _wrong(i), labels, dataset)
    for name, content in metrics.items():
        write_json(root / f"data/results/{name}/summary.json", content)
    folder = root / "data/results"
    for i, mode in enumerate(MODES):
        curve = [(epoch, 1 / epoch, 0.5, 2 / epoch, 0.4) for epoch in (1, 2)]
        header = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
        write_csv(folder / mode / "history.csv", header, curve)
        rows = answers(labels, dataset.classes, _wrong(i))
        write_csv(folder / mode / "predictions.csv", ANSWERS, rows)
    header = ("value_range", "test_image", "label", "rank", "imagenet_class", "probability")
    named = [("0-255", position, "", 1, "clog", 0.3) for position in positions[:50]]
    write_csv(folder / "baseline/predictions.csv", header, named)
    for value_range in ("0-255", "0-1"):
        shares = [("clog", 1.0)]
        write_csv(folder / f"baseline/top1_{value_range}.csv", ("imagenet_class", "share"), shares)


def _drawn(root: Path) -> Path:
    (root / "plots").mkdir()
    draw(root, gather(root), root / "plots")
    return root


def _wrong(mode: int) -> int:
    """Return how many test images a mode, by its place, gets wrong."""
    return 10 * mode + 1


def answers(
    labels: NDArray[np.int64], classes: Sequence[str], wrong: int
) -> list[tuple[int, int, str, str, float]]:
    """Return predictions.csv's rows: the first `wrong` images are called the next class."""
    rows = []
    for image, label in enumerate(labels):
        said = classes[(label + (image < wrong)) % len(classes)]
        rows.append((0, image, classes[label], said, 0.9 - image / max(1000, 2 * len(labels))))
    return rows


def write_study(root: Path) -> None:
    """Write the tables of the sets that the report shows, as `python -m tools.study` would."""
    linear = dict.fromkeys(studies.LINEAR.values(), 0.8) | {"linear_pixels_train_images": 58_000}
    ends = ("", "_low", "_high")
    accuracies = ("validation_accuracy", *(f"test_accuracy{end}" for end in ends))
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
            if name == "curve":
                _put_at_depths(rows)
            lines = [list(row.values()) for row in rows]
            write_csv(root / f"tools/study/results/{name}.csv", list(rows[0]), lines)


def _put_at_depths(rows: Sequence[dict[str, Any]]) -> None:
    """Freeze as many layers as each run of the curve says; let two points stand out."""
    ends = dict(zip(studies.BLOCK_NAMES, studies.BLOCK_ENDS, strict=True))
    for row in rows:
        run = row["run"]
        row["layers_frozen"] = int(run) if run.isdigit() else ends[run]
    by_run = {row["run"]: row for row in rows}
    for run, accuracy, macs in (("conv1", 0.87, 200), ("conv4_block6", 0.86, 50)):
        by_run[run] |= {"test_accuracy": accuracy, "training_macs": macs}
        by_run[run] |= {"test_accuracy_low": accuracy - 0.02, "test_accuracy_high": accuracy + 0.02}
    by_run["conv1"]["validation_accuracy"] = 0.9
