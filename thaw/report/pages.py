"""Metrics, plots and params to report.md and report.html; only what they hold is shown."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

from thaw.config.fields import BACKBONE_LAYERS
from thaw.config.load import load_params
from thaw.data.fashion_mnist import CLASS_NAMES, FILES
from thaw.data.image_store import open_images
from thaw.findings.evaluation import key
from thaw.report.canvas import save_image
from thaw.report.drawing import cell_name
from thaw.report.figures import SHOWN_SIZE
from thaw.report.results import MODES, Metrics
from thaw.support import versions
from thaw.support.errors import ThawError, remedy
from thaw.support.files import sha256
from thaw.support.tables import read_csv, read_json

NOTICES = {
    "random": "No pretrained weights were used: ResNet50 starts from random weights, so these "
    "numbers do not show what thawing ImageNet knowledge is worth.",
    "bundled": "The weights are those that ship with thaw: a distilled approximation, not "
    "ImageNet's ResNet50 (-S weights=imagenet).",
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
    seeds: str = "-"
    uses_weights: bool = False


def render(root: Path, plots: Path, template: str) -> str:
    """Return the report that a template makes of `root`'s metrics and of `plots`.

    Raises:
        ThawError: a metric or a plot is missing or cannot be read.

    """
    environment = Environment(
        loader=PackageLoader("thaw.report"),
        autoescape=template.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(thousands=thousands, decimals=decimals)
    environment.globals.update(
        picture=lambda path: data_url(plots / path),
        test_pictures=lambda seen: _pictures(root, seen),
    )
    try:
        return environment.get_template(template).render(context(root, plots))
    except (KeyError, ValueError, TypeError, OverflowError, UndefinedError) as error:
        raise ThawError(f"metrics/ or plots/ is damaged: {error}. {remedy()}") from error


def context(root: Path, plots: Path) -> dict[str, Any]:
    """Return everything that the templates show."""
    metrics = {
        name: read_json(root / f"metrics/{name}.json") for name in ("baseline", "diagnose", *MODES)
    }
    modes = {mode: metrics[mode] for mode in MODES}
    differences = read_csv(plots / "modes/differences.csv")
    cells = read_csv(plots / "diagnose/cells.csv")
    curve, full_data = (
        read_csv(path) if path.is_file() else []
        for path in (plots / "study/curve.csv", plots / "study/full_data.csv")
    )
    return {
        "notice": NOTICES.get(metrics["baseline"]["weights"].partition(" ")[0], ""),
        "weights": metrics["baseline"]["weights"],
        "answer": answer(modes, metrics["baseline"], differences),
        "rows": [*_references(metrics["baseline"]), *map(_row, MODES, modes.values())],
        "differences": differences,
        "baseline": metrics["baseline"],
        "diagnose": metrics["diagnose"],
        "cells": [(cell_name(cell), cell) for cell in cells],
        "causes": list(causes(cells)),
        "modes": modes,
        "stages": MODES,
        "seen": read_csv(plots / "modes/before_after.csv"),
        "classes": {
            name: [modes[mode].get(f"test_accuracy_{key(name)}") for mode in MODES]
            for name in CLASS_NAMES
        },
        "mistakes": {mode: read_csv(plots / mode / "mistakes.csv") for mode in MODES},
        "curve": curve,
        "curve_made": curve_made(curve[0]) if curve else "",
        "full_data": full_data,
        "provenance": provenance(root, metrics["baseline"]["weights"]),
    }


def curve_made(run: Mapping[str, str]) -> str:
    """Say what curve.csv's runs have in common, from one of them."""
    return (
        f"train-partial by how much of ResNet50 is frozen: weights {run['weights']}, "
        f"{int(run['train_images']):,} training images, {run['epochs']} epochs, seed "
        f"{run['seed']}, threads: {run['threads']}, at commit {run['commit']}."
    )


def _pictures(root: Path, seen: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield each test image as a data URL."""
    test = open_images(root / "data/images", SHOWN_SIZE, "test")
    rows = {int(position): row for row, position in enumerate(test.positions)}
    for line in seen:
        image = test.batch(np.array([rows[int(line["test_image"])]]))[0]
        file = io.BytesIO()
        save_image(file, image)
        yield _data_url(file.getvalue())


def causes(cells: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield in words, for each number of frozen layers, what each cause costs alone and both do.

    Args:
        cells: cells.csv's rows: for each `freeze` done right, the second cause alone, input in
            [0, 1] alone, both.

    """
    for freeze, group in groupby(cells, lambda cell: int(cell["freeze"])):
        right, other, unit, both = group
        reached = [float(cell["validation_accuracy"]) for cell in (right, other, unit, both)]
        by_other, by_unit, by_both = (value - reached[0] for value in reached[1:])
        name = other["statistics"] if freeze == 0 else f"{other['statistics']} statistics"
        where = {BACKBONE_LAYERS: "the whole base frozen", 0: "nothing frozen"}
        verdict = f"the larger cause is {'the input' if by_unit < by_other else name}"
        if min(by_unit, by_other) > -NOISE:
            verdict = "neither alone costs more than chance may"
        yield (
            f"With {where.get(freeze, f'the first {freeze} layers frozen')}, the run done right "
            f"ends at a validation accuracy of {reached[0]:.3f}. Input in [0, 1] alone changes it "
            f"by {by_unit:+.3f}, {name} alone by {by_other:+.3f}, both together by {by_both:+.3f}: "
            f"{verdict}. With both, "
            f"training accuracy is {float(both['train_accuracy']):.3f} and validation accuracy "
            f"{reached[3]:.3f}, and what training normalises with is on average "
            f"{float(both['statistics_shift']):.2f} standard deviations from what validation "
            f"normalises with (done right: {float(right['statistics_shift']):.2f})."
        )


NONE = (None, "-")
"""What says that a column does not apply: in memory, and in a CSV."""
NOISE = 0.03
"""Two standard errors of an accuracy on 1,000 images, about."""
LOCKED = ("tensorflow", "keras", "openvino", "numpy", "scikit-learn", "dvc")


def provenance(root: Path, weights: str) -> list[tuple[str, str]]:
    """Return what the numbers hang on: weights, data, locked versions, params.

    Raises:
        ThawError: params.yaml or requirements.lock cannot be read.

    """
    locked = versions.locked(versions.read_lock(root))
    return [
        ("weights", weights),
        *((f"{file.name}, SHA-256", file.sha256) for file in FILES),
        ("requirements.lock, SHA-256", sha256(root / versions.LOCK)),
        *((name, locked.get(name, "not locked")) for name in LOCKED),
        *((name, str(value)) for name, value in flat(load_params(root).model_dump(mode="json"))),
    ]


def flat(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested entries under their paths."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def answer(
    modes: Mapping[str, Metrics], baseline: Metrics, differences: Sequence[Mapping[str, str]]
) -> str:
    """Return the finding in two sentences; a lead whose interval includes 0 is not called one."""
    best, second = sorted(modes, key=lambda mode: -_mean_accuracy(modes[mode]))[:2]
    apart, low, high = difference(differences, best, second)
    verdict = "ahead of" if low > 0 else "not distinguishable from"
    linear = baseline["linear_pixels_accuracy"]
    return (
        f"{MODES[best]}, on {modes[best]['train_images']:,} training images, reaches "
        f"{reached(modes[best])} on {modes[best]['test_images']:,} test images, {verdict} "
        f"{MODES[second]}, on {modes[second]['train_images']:,}, with {reached(modes[second])} "
        f"(difference {apart:+.4f} [{low:+.4f}, {high:+.4f}]). "
        f"A linear classifier on pixels, fitted on {baseline['linear_pixels_train_images']:,} "
        f"images, gets {linear:.4f}."
    )


def difference(
    differences: Sequence[Mapping[str, str]], one: str, other: str
) -> tuple[float, float, float]:
    """Return by how much `one` is ahead of `other`, with its interval, from differences.csv."""
    for row in differences:
        if (row["mode"], row["than"]) == (one, other):
            return float(row["difference"]), float(row["low"]), float(row["high"])
        if (row["mode"], row["than"]) == (other, one):
            return -float(row["difference"]), -float(row["high"]), -float(row["low"])
    raise ValueError(f"differences.csv does not compare {one} with {other}")


def _references(baseline: Metrics) -> list[Row]:
    linear = "linear_pixels_accuracy"
    rows = [
        Row("chance", baseline["chance_accuracy"]),
        Row(
            "linear on pixels",
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
        rows.append(
            Row(name, baseline[zero_shot], low, high, test_images=images, uses_weights=True)
        )
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
        _over_seeds(metrics),
        uses_weights=True,
    )


def _over_seeds(metrics: Metrics) -> str:
    """Return mean and standard deviation of test accuracy over the seeds, and how many."""
    if metrics["seeds"] == 1:
        return "-"
    mean, deviation = metrics["test_accuracy_mean"], metrics["test_accuracy_std"]
    return f"{mean:.4f} ± {deviation:.4f} ({metrics['seeds']} seeds)"


def _mean_accuracy(metrics: Metrics) -> float:
    """Return test accuracy, over all seeds where there are several."""
    return float(metrics.get("test_accuracy_mean", metrics["test_accuracy"]))


def reached(metrics: Metrics) -> str:
    """Return a test accuracy with its 95% interval, of several seeds with its deviation."""
    if "test_accuracy_mean" in metrics:
        mean, deviation = metrics["test_accuracy_mean"], metrics["test_accuracy_std"]
        return f"{mean:.4f} ± {deviation:.4f} over {metrics['seeds']} seeds"
    low, high = metrics["test_accuracy_low"], metrics["test_accuracy_high"]
    return f"{metrics['test_accuracy']:.4f} [{low:.4f}, {high:.4f}]"


def thousands(number: object) -> str:
    """Return a count, or text that is one, with thousands apart; a dash where there is none."""
    return "-" if number in NONE else f"{int(str(number)):,}"


def decimals(number: object, digits: int = 4, sign: str = "") -> str:
    """Return a number, or text that is one, to so many digits; a dash where there is none."""
    return "-" if number in NONE else f"{float(str(number)):{sign}.{digits}f}"


def data_url(path: Path) -> str:
    """Return a PNG as a data URL, so that the page needs no other file.

    Raises:
        ThawError: the file cannot be read.

    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ThawError(f"{path} cannot be read: {error}. {remedy()}") from error
    return _data_url(content)


def _data_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
