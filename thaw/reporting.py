"""Metrics and results to plots, report.md and report.html; only what they hold is shown."""

import base64
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

from thaw import figures
from thaw.errors import ThawError
from thaw.fashion_mnist import CLASS_NAMES
from thaw.files import read_csv, read_json, remedy

Metrics = Mapping[str, Any]
MODES = {"frozen": "train-frozen", "partial": "train-partial", "full": "train-full"}
NOTICES = {
    "random": "No pretrained weights were used: ResNet50 starts from random weights, so these "
    "numbers do not show what thawing ImageNet knowledge is worth.",
    "bundled": "The weights are those that ship with thaw: a distilled approximation, not "
    "ImageNet's ResNet50, which -S weights=imagenet takes.",
}
"""What a report says first, by the kind of weights."""


@dataclass(frozen=True)
class Row:
    """A line of the comparison table; what does not apply is None."""

    name: str
    accuracy: float
    low: float | None = None
    high: float | None = None
    gap: float | None = None
    calibration_error: float | None = None
    parameters_trained: int | None = None
    train_images: int | None = None
    images_seen: int | None = None
    test_images: int | None = None


def draw(root: Path, plots: Path) -> None:
    """Write the tables and figures of data/results, with those of the metrics, to `plots`.

    Drawing apart from training: a change of colour must not retrain a network.

    Raises:
        ThawError: a metric or a result is missing or cannot be read.

    """
    results = root / "data/results"
    for source in sorted(results.glob("*/*.csv")):
        target = plots / source.relative_to(results)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(source, target)
    try:
        _draw_baseline(results, plots, read_json(root / "metrics/baseline.json"))
        _draw_diagnose(results, plots)
        for mode in MODES:
            _draw_mode(results, plots, mode, read_json(root / f"metrics/{mode}.json"))
    except (KeyError, ValueError, OSError) as error:
        raise ThawError(f"data/results or metrics/ is damaged: {error!r}. {remedy()}") from error


def _draw_baseline(results: Path, plots: Path, metrics: Metrics) -> None:
    ranges = ("byte", "unit") if metrics["has_1000_class_top"] else ()
    names = {"chance": "chance_accuracy", "linear on pixels": "linear_pixels_accuracy"}
    names |= {f"ResNet50, {r} input": f"{r}_zero_shot_accuracy" for r in ranges}
    references = {name: metrics[key] for name, key in names.items()}
    path = plots / "baseline" / "references.png"
    figures.bars(path, references, "Before any retraining", "test accuracy")
    captions = [_caption(metrics, r) for r in ranges] or ["training image 6"]
    picture = np.load(results / "baseline/train_image_6.npy", allow_pickle=False)
    path = plots / "baseline" / "train_image_6.png"
    figures.captioned_images(path, [picture] * len(captions), captions)


def _caption(metrics: Metrics, input_range: str) -> str:
    said = (f"{input_range}_train_image_6_top{rank}" for rank in (1, 2, 3))
    lines = [f"{metrics[f'{key}_class']} {metrics[f'{key}_probability']:.3f}" for key in said]
    return "\n".join([f"{input_range} input", *lines])


def _draw_diagnose(results: Path, plots: Path) -> None:
    shown = {
        f"{row['cell']}: {part}": float(row[f"{part}_accuracy"])
        for row in read_csv(results / "diagnose/cells.csv")
        for part in ("train", "validation")
    }
    title = "Frozen base, the notebook's head: input range x frozen batch normalisation"
    figures.bars(plots / "diagnose" / "cells.png", shown, title, "accuracy after the last epoch")


def _draw_mode(results: Path, plots: Path, mode: str, metrics: Metrics) -> None:
    rows = read_csv(results / mode / "history.csv")
    curves = [{name: float(value) for name, value in row.items()} for row in rows]
    path = plots / mode / "history.png"
    figures.learning_curves(path, curves, metrics["best_epoch"], MODES[mode])
    counts = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), np.int64)
    for row in read_csv(results / mode / "confusion.csv"):
        counts[CLASS_NAMES.index(row["actual"]), CLASS_NAMES.index(row["predicted"])] += 1
    if counts.sum() != metrics["test_images"]:
        raise ThawError(
            f"the confusion matrix of {MODES[mode]} counts {counts.sum():,} images, its metrics "
            f"{metrics['test_images']:,}. {remedy()}"
        )
    title = f"{MODES[mode]}, test images"
    figures.confusion_matrix(plots / mode / "confusion.png", counts, title)


def render(root: Path, plots: Path, template: str) -> str:
    """Return the report that `thaw/templates/{template}` makes of `root`'s metrics and of `plots`.

    Raises:
        ThawError: a metric or a plot is missing or cannot be read.

    """
    environment = Environment(
        loader=PackageLoader("thaw"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["thousands"] = thousands
    environment.globals["picture"] = lambda path: data_url(plots / path)
    try:
        return environment.get_template(template).render(context(root, plots))
    except (KeyError, UndefinedError) as error:
        raise ThawError(f"a metric is missing in metrics/: {error}. {remedy()}") from error


def context(root: Path, plots: Path) -> dict[str, Any]:
    """Return everything that the templates show."""
    metrics = {
        name: read_json(root / f"metrics/{name}.json") for name in ("baseline", "diagnose", *MODES)
    }
    modes = {mode: metrics[mode] for mode in MODES}
    return {
        "notice": NOTICES.get(metrics["baseline"]["weights"].partition(" ")[0], ""),
        "weights": metrics["baseline"]["weights"],
        "answer": answer(modes, metrics["baseline"]),
        "rows": [*_references(metrics["baseline"]), *map(_row, MODES, modes.values())],
        "baseline": metrics["baseline"],
        "diagnose": metrics["diagnose"],
        "cells": read_csv(plots / "diagnose/cells.csv"),
        "modes": modes,
        "stages": MODES,
    }


def answer(modes: Mapping[str, Metrics], baseline: Metrics) -> str:
    """Return the finding in two sentences; a lead within the intervals is not called one."""
    ranked = sorted(modes, key=lambda mode: -modes[mode]["test_accuracy"])
    best, second = (modes[mode] for mode in ranked[:2])
    apart = best["test_accuracy_low"] > second["test_accuracy_high"]
    verdict = "ahead of" if apart else "not distinguishable from"
    linear = baseline["linear_pixels_accuracy"]
    return (
        f"{MODES[ranked[0]]}, on {best['train_images']:,} training images, reaches "
        f"{interval(best)} on {best['test_images']:,} test images, {verdict} {MODES[ranked[1]]}, "
        f"on {second['train_images']:,}, with {interval(second)}. "
        f"A linear classifier on raw pixels, fitted on {baseline['linear_pixels_train_images']:,} "
        f"images, gets {linear:.4f}."
    )


def _references(baseline: Metrics) -> list[Row]:
    linear = "linear_pixels_accuracy"
    rows = [
        Row("chance", baseline["chance_accuracy"]),
        Row(
            "linear on raw pixels",
            baseline[linear],
            baseline[f"{linear}_low"],
            baseline[f"{linear}_high"],
            train_images=baseline["linear_pixels_train_images"],
            test_images=baseline["linear_pixels_test_images"],
        ),
    ]
    zero_shot = "byte_zero_shot_accuracy"
    if baseline["has_1000_class_top"]:
        low, high = baseline[f"{zero_shot}_low"], baseline[f"{zero_shot}_high"]
        name = f"zero-shot, {baseline['zero_shot_image_size']} px"
        images = baseline["zero_shot_images"]
        rows.append(Row(name, baseline[zero_shot], low, high, test_images=images))
    return rows


def _row(mode: str, metrics: Metrics) -> Row:
    frozen = f", {metrics['layers_frozen']} layers frozen" if mode == "partial" else ""
    return Row(
        MODES[mode] + frozen,
        metrics["test_accuracy"],
        metrics["test_accuracy_low"],
        metrics["test_accuracy_high"],
        metrics["generalization_gap"],
        metrics["calibration_error"],
        metrics["parameters_trainable"],
        metrics["train_images"],
        metrics["images_seen"],
        metrics["test_images"],
    )


def interval(metrics: Metrics) -> str:
    """Return a test accuracy with its 95% interval."""
    low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
    return f"{metrics['test_accuracy']:.4f} [{low:.4f}, {high:.4f}]"


def thousands(number: int | None) -> str:
    """Return a count with thousands apart, a dash where there is none."""
    return "-" if number is None else f"{number:,}"


def data_url(path: Path) -> str:
    """Return a PNG as a data URL, so that the page needs no other file.

    Raises:
        ThawError: the file cannot be read.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    return "data:image/png;base64," + base64.b64encode(content).decode()
