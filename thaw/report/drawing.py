"""Results to the tables and figures in plots/; nothing here trains or predicts.

Drawing apart from training: a change of colour must not retrain a network.
"""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from thaw.config.fields import BACKBONE_LAYERS
from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import Images, open_images
from thaw.findings.evaluation import paired_difference, reliability
from thaw.report import figures
from thaw.report.results import HISTORY, MODES, PREDICTIONS, Metrics, TestPredictions, load
from thaw.support import paths
from thaw.support.errors import ThawError, remedy
from thaw.support.places import check_input
from thaw.support.tables import read_csv, write_csv

MISTAKES = 10
DIGITS = 4
CURVE = {
    "trainable": "parameters_trainable",
    "cost": "training_macs",
    "accuracy": "test_accuracy",
    "low": "test_accuracy_low",
    "high": "test_accuracy_high",
}
"""What the thaw curve shows, and its columns in curve.csv."""
FULL_DATA = {"linear": "linear on pixels", **MODES, "scratch": "train-full, rate 0.003"}
"""What is shown of each set of study/ that takes all training images, by its name's end."""
LINEAR = {
    "train_images": "linear_pixels_train_images",
    "test_accuracy": "linear_pixels_accuracy",
    "test_accuracy_low": "linear_pixels_accuracy_low",
    "test_accuracy_high": "linear_pixels_accuracy_high",
}
"""The linear classifier's metrics among the baseline's, by `FULL_COLUMNS`."""
FULL_COLUMNS = (
    "model",
    "weights",
    "train_images",
    "epochs",
    "parameters_trainable",
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
)
"""Of full_data.csv; "-" stands where a column does not apply."""
COUNTS = ("train_images", "epochs", "parameters_trainable")
STUDY_REMEDY = f"Restore it: git checkout -- {paths.STUDY}"


def draw(root: Path, plots: Path) -> None:
    """Write the tables and figures of data/results, with those of the metrics, to `plots`.

    Raises:
        ThawError: a metric or a result is missing, cannot be read, or contradicts another.

    """
    results = root / "data/results"
    test = open_images(root / "data/images", figures.SHOWN_SIZE, "test")
    try:
        metrics, answers = load(root, test)
        _draw_baseline(results, plots, metrics["baseline"])
        _draw_diagnose(results, plots)
        for mode, of in answers.items():
            _draw_mode(results / mode, plots / mode, mode, metrics[mode], of, test)
        _draw_comparison(plots / "modes", answers)
        _write_before_after(results, plots / "modes", answers, test)
    except (KeyError, ValueError, TypeError, OverflowError, OSError) as error:
        raise ThawError(f"data/results or metrics/ is damaged: {error!r}. {remedy()}") from error
    try:
        _draw_study(root / paths.STUDY, plots / "study")
    except (KeyError, ValueError, OverflowError, OSError) as error:
        raise ThawError(f"{paths.STUDY} is damaged: {error!r}. {STUDY_REMEDY}") from error


def _draw_baseline(results: Path, plots: Path, metrics: Metrics) -> None:
    _copy(results / "baseline", plots / "baseline", "top1_0-255.csv", "top1_0-1.csv")
    ranges = ("0-255", "0-1") if metrics["has_1000_class_top"] else ()
    names = {"chance": "chance_accuracy", "linear on pixels": "linear_pixels_accuracy"}
    names |= {f"ResNet50, {r} input": f"{r}_zero_shot_accuracy" for r in ranges}
    references = {name: metrics[key] for name, key in names.items()}
    path = plots / "baseline" / "references.png"
    figures.bars(path, references, "Before any retraining", "test accuracy")
    captions = [_caption(metrics, r) for r in ranges] or ["training image 6"]
    example = check_input(results / "baseline/train_image_6.npy")
    picture = np.load(example, allow_pickle=False)
    path = plots / "baseline" / "train_image_6.png"
    figures.captioned_images(path, [picture] * len(captions), captions, "Training image 6")


def _copy(source: Path, target: Path, *names: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)


def _caption(metrics: Metrics, value_range: str) -> str:
    said = (f"{value_range}_train_image_6_top{rank}" for rank in (1, 2, 3))
    lines = [f"{metrics[f'{key}_class']} {metrics[f'{key}_probability']:.3f}" for key in said]
    return "\n".join([f"{value_range} input", *lines])


def cell_name(row: Mapping[str, str]) -> str:
    """Return a cell of cells.csv in words."""
    frozen = "" if int(row["freeze"]) == BACKBONE_LAYERS else f"freeze {row['freeze']}, "
    statistics = row["statistics"]
    kind = statistics if statistics.startswith("momentum") else f"{statistics} statistics"
    return f"{frozen}{row['value_range']} input, {kind}"


def _draw_diagnose(results: Path, plots: Path) -> None:
    names = ("cells.csv", HISTORY, "shifts.csv")
    _copy(results / "diagnose", plots / "diagnose", *names)
    shown = {
        f"{cell_name(row)}: {part}": float(row[f"{part}_accuracy"])
        for row in read_csv(results / "diagnose/cells.csv")
        for part in ("train", "validation")
    }
    title = "The notebook's head: input range x batch normalisation"
    figures.bars(plots / "diagnose/cells.png", shown, title, "accuracy after the last epoch")
    lines: dict[str, list[float]] = {}
    for row in read_csv(results / "diagnose/shifts.csv"):
        lines.setdefault(cell_name(row), []).append(float(row["statistics_shift"]))
    some = {name: values for name, values in lines.items() if any(values)}  # stored: 0 throughout
    figures.shifts(plots / "diagnose/shifts.png", some)


def _draw_mode(
    results: Path, plots: Path, mode: str, metrics: Metrics, answers: TestPredictions, test: Images
) -> None:
    _copy(results, plots, HISTORY)
    curves = [
        {name: float(value) for name, value in row.items()} for row in read_csv(results / HISTORY)
    ]
    path = plots / "history.png"
    figures.learning_curves(path, curves, metrics["best_epoch"], MODES[mode])
    predicted, confidence = answers.predicted[0], answers.confidence[0]
    named = [
        (CLASS_NAMES[a], CLASS_NAMES[p]) for a, p in zip(answers.actual, predicted, strict=True)
    ]
    write_csv(plots / "confusion.csv", ("actual", "predicted"), named)
    counts = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), np.int64)
    np.add.at(counts, (answers.actual, predicted), 1)
    figures.confusion_matrix(plots / "confusion.png", counts, f"{MODES[mode]}, test images")
    bins = reliability(confidence, answers.correct[0])
    rows = [(round(c, DIGITS), round(a, DIGITS), count) for c, a, count in bins]
    write_csv(plots / "reliability.csv", ("confidence", "accuracy", "images"), rows)
    _draw_mistakes(plots, mode, answers, test)


def _draw_mistakes(plots: Path, mode: str, answers: TestPredictions, test: Images) -> None:
    """Show the wrong answers that the saved model is surest of."""
    wrong = np.flatnonzero(~answers.correct[0])
    surest = wrong[np.argsort(-answers.confidence[0][wrong], kind="stable")][:MISTAKES]
    rows = [
        (
            int(test.positions[image]),
            CLASS_NAMES[answers.actual[image]],
            CLASS_NAMES[answers.predicted[0][image]],
            float(answers.confidence[0][image]),
        )
        for image in surest
    ]
    write_csv(plots / "mistakes.csv", ("test_image", "actual", "predicted", "confidence"), rows)
    captions = [f"{a}, says\n{p} {c:.3f}" for _, a, p, c in rows] or ["no mistake"]
    pictures = test.batch(surest) if len(surest) else np.zeros((1, 28, 28, 3), np.uint8)
    title = f"{MODES[mode]}: the mistakes that it is surest of"
    figures.captioned_images(plots / "mistakes.png", list(pictures), captions, title)


def _draw_comparison(plots: Path, answers: Mapping[str, TestPredictions]) -> None:
    """Write what needs all modes: differences, classes, calibration."""
    write_csv(
        plots / "differences.csv",
        ("mode", "than", "difference", "low", "high"),
        [
            (one, other, *(round(v, DIGITS) for v in paired_difference(a.correct, b.correct)))
            for (one, a), (other, b) in combinations(answers.items(), 2)
        ],
    )
    classes = {
        MODES[mode]: [
            float(of.correct[0][of.actual == label].mean()) if (of.actual == label).any() else 0.0
            for label in range(len(CLASS_NAMES))
        ]
        for mode, of in answers.items()
    }
    write_csv(
        plots / "classes.csv",
        ("mode", "class", "accuracy"),
        [
            (mode, name, round(value, DIGITS))
            for mode, values in classes.items()
            for name, value in zip(CLASS_NAMES, values, strict=True)
        ],
    )
    figures.classes(plots / "classes.png", classes)
    bins = {MODES[m]: reliability(of.confidence[0], of.correct[0]) for m, of in answers.items()}
    figures.reliability(plots / "reliability.png", bins)


def _write_before_after(
    results: Path, plots: Path, answers: Mapping[str, TestPredictions], test: Images
) -> None:
    """Write what each model says of the first test image of each class that ResNet50 named."""
    named = [
        row
        for row in read_csv(results / "baseline" / PREDICTIONS)
        if row["rank"] == "1" and row["value_range"] == "0-255"
    ]
    before = {int(row["test_image"]): row["imagenet_class"] for row in named}
    rows_of = {int(position): row for row, position in enumerate(test.positions)}
    known = [p for p in sorted(before) if p in rows_of] or sorted(rows_of)
    first = {int(test.labels[rows_of[position]]): position for position in reversed(known)}
    rows = [
        (
            position,
            CLASS_NAMES[label],
            before.get(position, "-"),
            *(CLASS_NAMES[of.predicted[0][rows_of[position]]] for of in answers.values()),
        )
        for label, position in sorted(first.items())
    ]
    header = ("test_image", "actual", "before", *answers)
    write_csv(plots / "before_after.csv", header, rows)


def _draw_study(study: Path, plots: Path) -> None:
    """Draw the thaw curve and write the table of all training images, where they were measured."""
    if (study / "results/curve.csv").is_file():
        _copy(study / "results", plots, "curve.csv")
        table = read_csv(study / "results/curve.csv", STUDY_REMEDY)
        rows = [_checked(row, FULL_COLUMNS[1:]) for row in table]
        points = [
            {name: float(row[column]) for name, column in CURVE.items()} | {"stage": stage}
            for row, stage in zip(rows, last_frozen_stages(rows), strict=True)
        ]
        figures.thaw_curve(plots / "curve.png", points)
    if measured := list(_full_data(study / "results")):
        published = [
            (f"{row['model']} (published)", *(row.get(column, "-") for column in FULL_COLUMNS[1:]))
            for row in map(_checked, read_csv(study / "published.csv", STUDY_REMEDY))
        ]
        write_csv(plots / "full_data.csv", FULL_COLUMNS, [*measured, *published])


def last_frozen_stages(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the stage of ResNet50 in which each run's frozen layers end; without any, "none".

    A block's name says it; a number of layers ends in the block that is the next to end.
    """
    ends = sorted(
        (int(row["layers_frozen"]), row["run"].partition("_")[0])
        for row in rows
        if row["run"].startswith("conv")
    )
    frozen = [int(row["layers_frozen"]) for row in rows]
    return [
        next((stage for end, stage in ends if n <= end), "conv5") if n else "none" for n in frozen
    ]


def _full_data(results: Path) -> Iterator[tuple[str, ...]]:
    """Yield `FULL_COLUMNS` of each experiment with all training images."""
    for name, model in FULL_DATA.items():
        path = results / f"full-data-{name}.csv"
        for row in read_csv(path, STUDY_REMEDY) if path.is_file() else ():
            if name == "linear":
                row = {column: row[metric] for column, metric in LINEAR.items()}
            yield (model, *(_checked(row).get(column, "-") for column in FULL_COLUMNS[1:]))


def _checked(row: dict[str, str], needed: Sequence[str] = ("test_accuracy",)) -> dict[str, str]:
    """Return a row of a study, held to what the report will want of it.

    Raises:
        KeyError, ValueError: a column is missing or holds no number.

    """
    columns = [name for name in FULL_COLUMNS[2:] if name in needed or row.get(name, "-") != "-"]
    for name in columns:
        number = int(row[name]) if name in COUNTS else float(row[name])
        if not math.isfinite(number):
            raise ValueError(f"{name} must be finite. Received: {row[name]}")
    if missing := set(needed) - set(row):
        raise KeyError(*missing)
    return row
