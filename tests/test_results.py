"""Summaries that were changed by hand: what follows from the results must be what they say."""

import re
from pathlib import Path

import pytest
from conftest import read_entries, small_params
from report_project import make

from thaw.report.checks import check
from thaw.report.results import read
from thaw.support.errors import ThawError
from thaw.support.tables import read_csv, read_json, write_csv, write_json


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("results"), small_params(read_entries()))


def refusal(root: Path, name: str, metric: str, value: object) -> str:
    """Return how thaw refuses a summary in which one entry, by its path, was changed."""
    path = root / f"data/results/{name}/summary.json"
    before = path.read_text()
    content = inner = read_json(path)
    *sections, last = metric.split("/")
    for section in sections:
        inner = inner[section]
    assert last in inner
    inner[last] = value
    write_json(path, content)
    try:
        with pytest.raises(ThawError) as caught:
            check(read(root))
    finally:
        path.write_text(before)
    return str(caught.value)


def test_what_the_stages_wrote_holds_together(project: Path) -> None:
    check(read(project))


@pytest.mark.parametrize(
    ("name", "metric", "value", "allowed"),
    [
        ("full", "test_accuracy", 0.5, "0.79, as"),
        ("full", "test_accuracy", 7.9, "a number, from 0 to 1"),
        ("full", "test_accuracy", "0.79", "a number, from 0 to 1"),
        ("full", "test_accuracy", True, "a number, from 0 to 1"),
        ("full", "test_accuracy_low", 0.8, "0.7002, as"),
        ("full", "test_accuracy_low", 0.0, "0.7002, as"),
        ("full", "test_accuracy_high", 0.5, "0.8583, as"),
        ("full", "test_macro_recall", 0.8, "0.79, as"),
        ("full", "test_macro_recall", 1.1, "a number, from 0 to 1"),
        # 14 / 19 of T-shirts, 16 / 21 of trousers, 0.8 of each other class.
        ("full", "test_macro_f1", 0.8, "0.7899, as"),
        ("full", "generalization_gap", 0.06, "0.05, as"),
        ("full", "generalization_gap", -2, "a number, from -1 to 1"),
        ("full", "train_accuracy", 0.9, "0.15, as"),
        ("full", "calibration_error", 0.5, "0.2803, as"),
        ("full", "test_loss", -0.1, "a number, at least 0"),
        ("full", "test_images", 99, ""),
        ("full", "train_images", 49, "147, as"),
        ("full", "train_images", 0, "a number, at least 1"),
        ("full", "images_seen", 151, "150, as"),
        ("full", "epochs", 3, "2, as"),
        ("full", "best_epoch", 1, "2, as"),
        ("full", "best_epoch", 3, "2, as"),
        ("full", "parameters", 1, "1000102, as"),
        ("full", "layers_frozen", 176, "a number, from 0 to 175"),
        ("full", "seeds", 3, "1, as"),
        ("full", "weights", "imagenet", "random, as"),
        ("baseline", "linear_pixels_accuracy", 0.6, "0.5"),
        ("baseline", "linear_pixels_accuracy", 0.501, "0.5, as"),
        ("baseline", "linear_pixels_accuracy_low", 0.6, "0.4038, as"),
        ("baseline", "linear_pixels_test_images", 1000, "100, as"),
        ("baseline", "0-255/zero_shot_accuracy_high", 0.5, "0.6"),
        ("baseline", "chance_accuracy", 0.2, "0.1, as"),
        ("baseline", "0-1/train_image_6_top1_probability", 1.5, "a number, from 0 to 1"),
        ("diagnose", "0-1/input_deviation", "nan", "a number, at least 0"),
        ("diagnose", "cells/175/0-1/training/validation_accuracy", 0.2, "0.1, as"),
        ("diagnose", "cells/175/0-255/inference/statistics_shift", -1.0, "a number, at least 0"),
    ],
)
def test_a_metric_that_contradicts_the_results_is_named(
    project: Path, name: str, metric: str, value: object, allowed: str
) -> None:
    said = refusal(project, name, metric, value)
    if metric == "test_images":
        assert "are for 100 images, but its metrics are for 99" in said
        return
    start = r"data/results/(full|baseline|diagnose)/summary\.json: [\w.-]+ must be "
    assert re.match(start, said)
    assert f"Received: {value!r}. Run `dvc repro --force --single-item" in said or metric in (
        *("train_accuracy", "train_images", "linear_pixels_accuracy"),
    )
    assert allowed in said


def test_seeds_are_held_to_their_predictions(project: Path) -> None:
    """Of a second seed that is right on all images."""
    path = project / "data/results/full/predictions.csv"
    rows = read_csv(path)
    other = [row | {"seed": "1", "predicted": row["actual"]} for row in rows]
    two = [list(row.values()) for row in [*rows, *other]]
    spread = {"seeds": 2, "test_accuracy_mean": 0.895, "test_accuracy_std": 0.1485}
    before = read_json(project / "data/results/full/summary.json")
    write_csv(path, list(rows[0]), two)
    write_json(project / "data/results/full/summary.json", before | spread)
    try:
        check(read(project))
        assert "must be 0.895, as" in refusal(project, "full", "test_accuracy_mean", 0.9)
        assert "must be 0.1485, as" in refusal(project, "full", "test_accuracy_std", 0.0)
    finally:
        write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
        write_json(project / "data/results/full/summary.json", before)
