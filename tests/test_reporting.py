import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from thaw import reporting
from thaw.errors import ThawError
from thaw.files import read_json, write_csv, write_json
from thaw.reporting import answer


def scores(accuracy: float, low: float, high: float) -> dict[str, float | int]:
    return {
        "test_accuracy": accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "test_images": 100,
        "train_images": 50,
    }


def mode_metrics(trained: int) -> dict[str, float | int | str]:
    return scores(0.8, 0.71, 0.87) | {
        "generalization_gap": 0.05,
        "calibration_error": 0.02,
        "parameters_trainable": trained,
        "images_seen": 3_000,
        "layers_frozen": 10,
        "best_epoch": 2,
        "train_image_6_label": "Sneaker",
        "train_image_6_probability": 0.9,
    }


def baseline_metrics() -> dict[str, float | int | str | bool]:
    metrics: dict[str, float | int | str | bool] = {"chance_accuracy": 0.1, "weights": "random"}
    metrics |= {"has_1000_class_top": True, "zero_shot_images": 50, "zero_shot_image_size": 64}
    metrics |= {"linear_pixels_train_images": 1_000, "linear_pixels_test_images": 100}
    for name in ("linear_pixels", "byte_zero_shot", "unit_zero_shot"):
        metrics |= {f"{name}_accuracy{end}": 0.5 for end in ("", "_low", "_high")}
    for input_range in ("byte", "unit"):
        for rank in (1, 2, 3):
            said = f"{input_range}_train_image_6_top{rank}"
            metrics |= {f"{said}_class": "clog", f"{said}_probability": 0.3}
    return metrics


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A project's metrics and results, and the plots that are drawn from them."""
    cells = {"byte_input_deviation": 75.0, "unit_input_deviation": 0.3}
    counts = {"train_images": 20, "validation_images": 20, "epochs": 2}
    metrics = {"baseline": baseline_metrics(), "diagnose": {**cells, **counts}}
    metrics |= {mode: mode_metrics(1_000_000 + i) for i, mode in enumerate(reporting.MODES)}
    for name, content in metrics.items():
        write_json(tmp_path / f"metrics/{name}.json", content)
    folder = tmp_path / "data/results"
    columns = ("cell", "train_accuracy", "validation_accuracy", "validation_loss")
    write_csv(folder / "diagnose/cells.csv", columns, [("byte input", 0.9, 0.8, 0.5)])
    for mode in reporting.MODES:
        curve = [(epoch, 1 / epoch, 0.5, 2 / epoch, 0.4) for epoch in (1, 2)]
        header = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
        write_csv(folder / mode / "history.csv", header, curve)
        write_csv(folder / mode / "confusion.csv", ("actual", "predicted"), [("Bag", "Coat")] * 100)
    (folder / "baseline").mkdir()
    np.save(folder / "baseline/train_image_6.npy", np.zeros((224, 224, 3), np.uint8))
    (tmp_path / "plots").mkdir()
    reporting.draw(tmp_path, tmp_path / "plots")
    return tmp_path


def render(root: Path, template: str) -> str:
    return reporting.render(root, root / "plots", template)


def change(root: Path, name: str, **entries: object) -> None:
    path = root / f"metrics/{name}.json"
    write_json(path, read_json(path) | entries)


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_without_pretrained_weights_the_report_says_so_first(results: Path, template: str) -> None:
    change(results, "baseline", weights="random")
    lines = render(results, template).split("<body>")[-1].strip().splitlines()
    assert "No pretrained weights were used" in lines[0]
    change(results, "baseline", weights="imagenet")
    assert "No pretrained" not in render(results, template)


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_with_the_bundled_weights_the_report_says_what_they_are(
    results: Path, template: str
) -> None:
    change(results, "baseline", weights="bundled 01234567")
    text = render(results, template)
    lines = text.split("<body>")[-1].strip().splitlines()
    assert "a distilled approximation" in lines[0]
    assert "Weights: bundled 01234567." in text


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_the_report_shows_the_metrics(results: Path, template: str) -> None:
    change(results, "full", test_accuracy=0.1234, test_accuracy_low=0.12, test_accuracy_high=0.13)
    change(results, "full", train_image_6_label="Bag", train_image_6_probability=0.5678)
    text = render(results, template)
    for shown in ("0.1234", "0.1200 to 0.1300", "Bag", "0.568", "train-frozen", "1,000,002"):
        assert shown in text


def test_the_page_needs_no_other_file(results: Path) -> None:
    html = render(results, "report.html.j2")
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "http" not in re.sub(r'"data:[^"]*"', "", html)
    assert html.count("<img") == html.count(" alt=")


def test_the_page_escapes_what_it_shows(results: Path) -> None:
    change(results, "full", train_image_6_label="<script>alert(1)</script>")
    html = render(results, "report.html.j2")
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_weights_without_top_are_said_to_be_such(results: Path) -> None:
    path = results / "metrics/baseline.json"
    kept = {k: v for k, v in read_json(path).items() if "zero_shot" not in k and "top" not in k}
    write_json(path, kept | {"has_1000_class_top": False})
    assert "none: these weights have no 1000-class top" in render(results, "report.md.j2")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("full", "images_seen"),
        ("full", "train_image_6_label"),
        ("diagnose", "byte_input_deviation"),
        ("baseline", "chance_accuracy"),
    ],
)
def test_a_missing_metric_is_named(results: Path, file: str, name: str) -> None:
    path = results / f"metrics/{file}.json"
    write_json(path, {k: v for k, v in read_json(path).items() if k != name})
    with pytest.raises(ThawError, match=rf"{name}.*dvc repro"):
        render(results, "report.md.j2")


def test_a_missing_file_is_named(results: Path) -> None:
    (results / "plots/full/history.png").unlink()
    with pytest.raises(ThawError, match=r"history\.png cannot be read.*dvc repro"):
        render(results, "report.html.j2")


def test_everything_that_dvc_yaml_shows_is_drawn_and_always_the_same(results: Path) -> None:
    tables = [results / f"data/results/baseline/top1_{r}.csv" for r in ("byte", "unit")]
    for table in tables:
        write_csv(table, ("imagenet_class", "share"), [("clog", 1.0)])
    for name in ("one", "two"):
        (results / name).mkdir()
        reporting.draw(results, results / name)
    for path in (results / "one").rglob("*.*"):
        again = results / "two" / path.relative_to(results / "one")
        assert path.read_bytes() == again.read_bytes()
    shown = set(re.findall(r"plots/([\w/.]+)", (ROOT / "dvc.yaml").read_text()))
    assert shown
    assert all((results / "one" / name).is_file() for name in shown)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("full/confusion.csv", "actual,predicted\nBag,Coat\n", r"counts 1 images, its metrics"),
        ("full/confusion.csv", "actual,predicted\nBag,Gown\n", r"is damaged"),
        ("full/history.csv", "epoch,loss\n1,much\n", r"is damaged"),
        ("diagnose/cells.csv", "cell\nx\n", r"is damaged"),
        ("baseline/train_image_6.npy", "no array", r"is damaged"),
    ],
)
def test_damaged_results_are_named(
    results: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (results / "data/results" / name).write_text(content)
    (tmp_path / "drawn").mkdir(exist_ok=True)
    with pytest.raises(ThawError, match=rf"{said}.*dvc repro"):
        reporting.draw(results, tmp_path / "drawn")


@pytest.mark.parametrize(
    ("second", "verdict"),
    [(scores(0.7, 0.65, 0.75), "ahead of"), (scores(0.8, 0.75, 0.85), "not distinguishable from")],
)
def test_overlapping_intervals_are_no_win(second: dict[str, float], verdict: str) -> None:
    modes = {"frozen": scores(0.85, 0.8, 0.9), "partial": second, "full": scores(0.1, 0.05, 0.2)}
    baseline = {"linear_pixels_accuracy": 0.8, "linear_pixels_train_images": 10}
    said = answer(modes, baseline)
    first = (
        "train-frozen, on 50 training images, reaches 0.8500 [0.8000, 0.9000] on 100 test images"
    )
    assert said.startswith(first)
    assert f"{verdict} train-partial, on 50, with" in said


def test_counts() -> None:
    assert (reporting.thousands(None), reporting.thousands(1234567)) == ("-", "1,234,567")
