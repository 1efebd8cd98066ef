"""Write the figures and CSV files of plots/ from the gathered contents.

Nothing here trains or predicts. Drawing has its own stage, so that DVC does not retrain a network
because a colour changed.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from thaw.config.fields import VALUE_RANGES
from thaw.findings.calibration import Bin
from thaw.report import class_figures, figures, studies, wording
from thaw.report.contents import Contents
from thaw.report.examples import Mistake, rows_by_position
from thaw.report.naming import figure_names, figure_text
from thaw.report.results import HISTORY, MODES, Results, naming_damage
from thaw.report.studies import CurvePoint, FullDataRow
from thaw.report.tables import DIGITS, ComparisonRow, Confusion, Difference, Tables
from thaw.support import paths
from thaw.support.errors import remedy
from thaw.support.places import check_input
from thaw.support.tables import write_csv

LONGEST_IN_CAPTIONS = 18
"""The most characters of a class name below an image."""


def draw(root: Path, contents: Contents, plots: Path) -> None:
    """Write the figures and tables to the folder `plots`.

    Tables that an earlier stage has already written are copied from `root`.

    Raises:
        ThawError: a table is missing, or a number cannot be drawn.

    """
    results, tables = contents.results, contents.tables
    folder = root / paths.RESULTS
    with naming_damage("data/results", remedy()):
        _draw_baseline(folder / "baseline", plots / "baseline", results)
        if results.dataset.fashion_mnist:
            _draw_diagnose(folder / "diagnose", plots / "diagnose", results)
        for mode in MODES:
            _copy(folder / mode, plots / mode, HISTORY)
            _draw_mode(plots / mode, mode, contents)
        _draw_comparison(plots / "modes", tables, results.dataset.classes)
    with naming_damage("tools/study", studies.REMEDY):
        _draw_studies(plots / "study", contents)


def _copy(source: Path, target: Path, *names: str) -> None:
    """Copy the files called `names` from one folder to another, which is created if necessary."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(check_input(source / name), target / name)


def _write_rows(path: Path, row: type, rows: Iterable[Any]) -> None:
    """Write dataclass objects as CSV with one column for each field; None becomes a dash."""
    lines = [["-" if value is None else value for value in astuple(each)] for each in rows]
    write_csv(path, [field.name for field in fields(row)], lines)


def _draw_baseline(source: Path, plots: Path, results: Results) -> None:
    metrics = results.metrics["baseline"]
    _copy(source, plots, *(f"top1_{value_range}.csv" for value_range in VALUE_RANGES))
    ranges = VALUE_RANGES if results.has_zero_shot else ()
    references = {
        "chance": metrics["chance_accuracy"],
        "linear on pixels": metrics["linear_pixels_accuracy"],
        **{f"ResNet50, {name} input": metrics[name]["zero_shot_accuracy"] for name in ranges},
    }
    path = plots / "references.png"
    figures.bars(path, references, "Before any retraining", "test accuracy")
    if results.example is None:
        return
    captions = [wording.imagenet_caption(metrics, name) for name in ranges] or ["training image 6"]
    pictures = [results.example] * len(captions)
    figures.captioned_images(plots / "train_image_6.png", pictures, captions, "Training image 6")


def _draw_diagnose(source: Path, plots: Path, results: Results) -> None:
    _copy(source, plots, "cells.csv", HISTORY, "shifts.csv")
    accuracies: dict[str, float] = {}
    for row in results.cells:
        accuracies[f"{wording.cell_name(row)}: train"] = row.train_accuracy
        accuracies[f"{wording.cell_name(row)}: validation"] = row.validation_accuracy
    title = "The notebook's head: value range x batch normalisation"
    figures.bars(plots / "cells.png", accuracies, title, "accuracy after the last epoch")
    lines: dict[str, list[float]] = {}
    for shift in results.shifts:
        lines.setdefault(wording.cell_name(shift), []).append(shift.statistics_shift)
    # Cells in which training uses the stored statistics in every layer have no shift to show.
    shown = {name: values for name, values in lines.items() if any(values)}
    figures.shifts(plots / "shifts.png", shown)


def _draw_mode(plots: Path, mode: str, contents: Contents) -> None:
    results, tables, stage = contents.results, contents.tables, MODES[mode]
    best_epoch = results.metrics[mode]["best_epoch"]
    path = plots / "history.png"
    figures.learning_curves(path, results.histories[mode], best_epoch, stage)
    _draw_confusion(plots, mode, contents)
    calibration = [
        (round(each.confidence, DIGITS), round(each.accuracy, DIGITS), each.images)
        for each in tables.calibration[mode]
    ]
    write_csv(plots / "calibration.csv", Bin._fields, calibration)
    _draw_mistakes(plots, mode, contents)


def _draw_confusion(plots: Path, mode: str, contents: Contents) -> None:
    answers, classes = contents.results.answers[mode], contents.results.dataset.classes
    actual, predicted = answers.actual, answers.predicted[0]
    names = [(classes[a], classes[p]) for a, p in zip(actual, predicted, strict=True)]
    write_csv(plots / "confusion.csv", ("actual", "predicted"), names)
    # np.add.at counts repeated pairs; `counts[actual, predicted] += 1` would count each pair once.
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (actual, predicted), 1)
    title = f"{MODES[mode]}, test images"
    class_figures.confusion_matrix(plots / "confusion.png", counts, figure_names(classes), title)
    if mode in contents.tables.confusions:
        _write_rows(plots / "confusions.csv", Confusion, contents.tables.confusions[mode])


def _draw_mistakes(plots: Path, mode: str, contents: Contents) -> None:
    results, mistakes = contents.results, contents.tables.mistakes[mode]
    lines = [
        (each.file or each.test_image, each.actual, each.predicted, each.confidence)
        for each in mistakes
    ]
    column = "file" if results.files else "test_image"
    write_csv(plots / "mistakes.csv", (column, "actual", "predicted", "confidence"), lines)
    row_of = rows_by_position(results.test)
    rows = [row_of[each.test_image] for each in mistakes]
    captions = list(_captions(mistakes, results.dataset.classes))
    # dvc.yaml lists this figure, so it has to exist even if the mode makes no mistake.
    pictures = results.test.batch(np.array(rows)) if rows else np.zeros((1, 28, 28, 3), np.uint8)
    title = f"{MODES[mode]}: the mistakes that it is surest of"
    path = plots / "mistakes.png"
    figures.captioned_images(path, list(pictures), captions or ["no mistake"], title)


def _captions(mistakes: Iterable[Mistake], classes: Sequence[str]) -> Iterator[str]:
    """Yield what the figure says below each image."""
    names = dict(zip(classes, figure_names(classes, LONGEST_IN_CAPTIONS), strict=True))
    for each in mistakes:
        said = f"{names[each.actual]}, says\n{names[each.predicted]} {each.confidence:.3f}"
        if each.file:
            name = PurePosixPath(each.file).name
            said += "\n" + figure_text(name, f"test image {each.test_image}")
        yield said


def _draw_comparison(plots: Path, tables: Tables, names: Sequence[str]) -> None:
    """Write the figures and tables that compare the modes."""
    _write_rows(plots / "comparison.csv", ComparisonRow, tables.comparison)
    _write_rows(plots / "differences.csv", Difference, tables.differences)
    if tables.macro_differences:
        _write_rows(plots / "macro_differences.csv", Difference, tables.macro_differences)
    classes = {
        MODES[mode]: {name: accuracies.get(name, 0.0) for name in names}
        for mode, accuracies in tables.classes.items()
    }
    lines = [
        (stage, name, round(accuracy, DIGITS))
        for stage, accuracies in classes.items()
        for name, accuracy in accuracies.items()
    ]
    write_csv(plots / "classes.csv", ("mode", "class", "accuracy"), lines)
    values = {stage: list(of.values()) for stage, of in classes.items()}
    class_figures.classes(plots / "classes.png", values, figure_names(names))
    calibration = {MODES[mode]: bins for mode, bins in tables.calibration.items()}
    figures.calibration(plots / "calibration.png", calibration)
    seen = [
        (row.file or row.test_image, row.actual, row.before, *row.after.values())
        for row in tables.before_after
    ]
    column = "file" if any(row.file for row in tables.before_after) else "test_image"
    write_csv(plots / "before_after.csv", (column, "actual", "before", *MODES), seen)


def _draw_studies(plots: Path, contents: Contents) -> None:
    measured = contents.studies
    if measured.curve:
        frozen = contents.results.metrics["partial"]["layers_frozen"]
        figures.thaw_curve(plots / "curve.png", measured, frozen)
        header = ["depth", *(field.name for field in fields(CurvePoint))]
        lines = [[point.depth, *astuple(point)] for point in measured.curve]
        write_csv(plots / "curve.csv", header, lines)
    if measured.full_data:
        _write_rows(plots / "full_data.csv", FullDataRow, measured.full_data)
