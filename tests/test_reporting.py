import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, read_entries, small_params
from report_project import CELLS, make, scores, write_study

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.report import pages
from thaw.report.contents import Contents, gather
from thaw.report.drawing import draw
from thaw.report.tables import Difference, tables
from thaw.report.wording import answer, causes
from thaw.support.errors import ThawError
from thaw.support.tables import read_csv, read_json, write_json


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made"), small_params(read_entries()))


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def render(root: Path, template: str, **changes: Mapping[str, object]) -> str:
    """Return a page on `root`'s results, with other metrics by the name of their file."""
    contents = gather(root)
    return pages.render(changed(contents, changes), root / "plots", template)


def changed(contents: Contents, changes: Mapping[str, Mapping[str, object]]) -> Contents:
    before = contents.results.metrics
    metrics = {name: {**of, **changes.get(name, {})} for name, of in before.items()}
    results = replace(contents.results, metrics=metrics)
    return replace(contents, results=results, tables=tables(results))


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_without_pretrained_weights_the_report_says_so_first(results: Path, template: str) -> None:
    lines = render(results, template).split("<body>")[-1].strip().splitlines()
    assert "No pretrained weights were used" in lines[0]
    assert "No pretrained" not in render(results, template, baseline={"weights": "imagenet"})


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_with_the_bundled_weights_the_report_says_what_they_are(
    results: Path, template: str
) -> None:
    text = render(results, template, baseline={"weights": "bundled 01234567"})
    lines = text.split("<body>")[-1].strip().splitlines()
    assert "a distilled approximation" in lines[0]
    assert "Weights: bundled 01234567." in text


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_the_report_shows_the_metrics(results: Path, template: str) -> None:
    full = {"test_accuracy": 0.1234, "test_accuracy_low": 0.12, "test_accuracy_high": 0.13}
    full |= {"train_image_6_label": "Bag", "train_image_6_probability": 0.5678}
    text = render(results, template, full=full)
    for shown in ("0.1234", "0.1200 to 0.1300", "Bag", "0.568", "train-frozen", "1,000,002"):
        assert shown in text


def test_the_page_needs_no_other_file(results: Path) -> None:
    html = render(results, "report.html.j2")
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert len(sources) > 10
    assert all(source.startswith(("data:image/png;base64,", "data:,")) for source in sources)
    assert "http" not in re.sub(r'"data:[^"]*"', "", html)
    assert html.count("<img") == html.count(" alt=")


def test_the_page_escapes_what_it_shows(results: Path) -> None:
    label = {"train_image_6_label": "<script>alert(1)</script>"}
    html = render(results, "report.html.j2", full=label)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


def test_weights_without_top_are_said_to_be_such(results: Path) -> None:
    path = results / "data/results/baseline/summary.json"
    named = ("zero_shot_images", "zero_shot_image_size", "0-255", "0-1")
    kept = {name: value for name, value in read_json(path).items() if name not in named}
    write_json(path, kept | {"has_1000_class_top": False})
    assert "none: these weights have no 1000-class top" in render(results, "report.md.j2")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("full", "images_seen"),
        ("full", "train_image_6_label"),
        ("diagnose", "0-255"),
        ("diagnose", "cells"),
        ("baseline", "chance_accuracy"),
    ],
)
def test_a_missing_metric_is_named(results: Path, file: str, name: str) -> None:
    path = results / f"data/results/{file}/summary.json"
    write_json(path, {k: v for k, v in read_json(path).items() if k != name})
    with pytest.raises(ThawError, match=rf"{name}.*dvc repro"):
        render(results, "report.md.j2")


def test_a_missing_file_is_named(results: Path) -> None:
    (results / "plots/full/history.png").unlink()
    with pytest.raises(ThawError, match=r"history\.png cannot be read.*dvc repro"):
        render(results, "report.html.j2")


def test_everything_that_dvc_yaml_shows_is_drawn_and_always_the_same(results: Path) -> None:
    write_study(results)
    for name in ("one", "two"):
        (results / name).mkdir()
        draw(results, gather(results), results / name)
    for path in (results / "one").rglob("*.*"):
        again = results / "two" / path.relative_to(results / "one")
        assert path.read_bytes() == again.read_bytes()
    shown = set(re.findall(r"plots/([\w/.-]+)", (ROOT / "dvc.yaml").read_text()))
    assert shown
    assert all((results / "one" / name).is_file() for name in shown)


SHIFT = "freeze,value_range,statistics,layer,statistics_shift\n175,0-1,training,bn1,0.5\n"
ONE_ANSWER = "seed,image,actual,predicted,confidence\n0,0,Bag,Coat,0.9\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("full/predictions.csv", ONE_ANSWER, r"are for 1 images, but its metrics are for 100"),
        ("full/predictions.csv", ONE_ANSWER.replace("Coat", "Gown"), r"is damaged"),
        ("full/predictions.csv", ONE_ANSWER.replace("0.9", "sure"), r"is damaged"),
        ("full/predictions.csv", ONE_ANSWER.replace("0.9", "1.1"), r"from 0 to 1"),
        ("full/predictions.csv", ONE_ANSWER.replace("0.9", "nan"), r"from 0 to 1"),
        ("full/predictions.csv", "seed,image\n", r"is damaged"),
        ("full/history.csv", "epoch,loss\n1,much\n", r"is damaged"),
        ("diagnose/cells.csv", "cell\nx\n", r"is damaged.*cells\.csv: row 1, freeze: "),
        ("diagnose/shifts.csv", SHIFT.replace("0.5", "inf"), r"row 1, statistics_shift: .*inf"),
        ("baseline/train_image_6.npy", "no array", r"is damaged"),
    ],
)
def test_damaged_results_are_named(results: Path, name: str, content: str, said: str) -> None:
    (results / "data/results" / name).write_text(content)
    with pytest.raises(ThawError, match=rf"{said}.*dvc repro"):
        gather(results)


def test_predictions_of_other_images_are_refused(results: Path) -> None:
    path = results / "data/results/full/predictions.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *reversed(lines[1:])]))
    with pytest.raises(ThawError, match=r"train-full do not belong to the images.*dvc repro"):
        gather(results)


@pytest.mark.parametrize(
    ("low", "verdict"), [(0.01, "ahead of"), (-0.01, "not distinguishable from")]
)
def test_a_difference_that_may_be_none_is_no_win(low: float, verdict: str) -> None:
    modes = {
        "frozen": scores(0.8, 0.65, 0.85),
        "partial": scores(0.85, 0.8, 0.9),
        "full": scores(0.1, 0.05, 0.2),
    }
    baseline = {"linear_pixels_accuracy": 0.8, "linear_pixels_train_images": 10}
    lead = Difference("partial", "frozen", 0.05, low, 0.09)
    said = answer(modes, baseline, [lead])
    first = (
        "train-partial, trained on 50 images, reaches a test accuracy of 0.8500 [0.8000, 0.9000] "
        "on 100 images. "
    )
    assert said.startswith(first)
    assert f"It is {verdict} train-frozen, which was trained on 50 images and" in said
    behind = Difference("frozen", "partial", -0.05, -0.09, -low)
    assert answer(modes, baseline, [behind]) == said
    assert behind.may_be_none == lead.may_be_none == (low < 0)


def test_the_tables_behind_the_figures_by_hand(results: Path) -> None:
    """Full is wrong on 21 of the 100 images, partial on 11, frozen on 1, each time the first."""
    differences = read_csv(results / "plots/modes/differences.csv")
    pairs = {(row["mode"], row["than"]): float(row["difference"]) for row in differences}
    assert pairs == {
        ("frozen", "partial"): pytest.approx(0.1),
        ("frozen", "full"): pytest.approx(0.2),
        ("partial", "full"): pytest.approx(0.1),
    }
    assert all(float(row["low"]) > 0 for row in differences)
    mistakes = read_csv(results / "plots/full/mistakes.csv")
    confidence = [float(row["confidence"]) for row in mistakes]
    assert confidence == sorted(confidence, reverse=True)
    assert confidence[0] == 0.9
    assert len(read_csv(results / "plots/frozen/mistakes.csv")) == 1
    seen = read_csv(results / "plots/modes/before_after.csv")
    assert [row["actual"] for row in seen] == list(CLASS_NAMES)
    assert {row["before"] for row in seen} == {"clog"}


def test_the_causes_in_words(results: Path) -> None:
    text = render(results, "report.md.j2")
    for said in (
        "With the whole base frozen, the correct run ends at a validation accuracy of 0.770",
        "Input in [0, 1] alone changes it by -0.650, batch statistics alone by -0.200",
        "and both together by -0.670: the larger cause is the input. With both, training accuracy",
        "are then on average 1.20 standard deviations from those that validation normalises by",
    ):
        assert said in text


def test_no_cause_is_named_where_none_costs_anything() -> None:
    (text,) = causes([replace(cell, validation_accuracy=0.76) for cell in CELLS])
    assert "neither alone costs more than chance can explain" in text
    assert "larger cause" not in text


def test_of_several_seeds_the_answer_gives_the_mean(results: Path) -> None:
    spread = {"seeds": 3, "test_accuracy_mean": 0.995, "test_accuracy_std": 0.01}
    text = render(results, "report.md.j2", full=spread)
    assert "reaches a test accuracy of 0.9950 ± 0.0100 over 3 seeds on 100 images" in text
    assert "| 0.9950 ± 0.0100 (3 seeds) |" in text


def test_studies_stand_where_they_were_measured(results: Path) -> None:
    assert "thaw curve" not in render(results, "report.html.j2")
    write_study(results)
    draw(results, gather(results), results / "plots")
    html = render(results, "report.html.j2")
    assert "thaw curve" in html
    assert ">conv4_block6</th>" in html
    text = render(results, "report.md.j2")
    made = (
        "weights bundled 01234567, 58,000 training images, 4 epochs, seed 0, threads: 1, at commit"
    )
    assert made in html
    assert made in text
    linear = "| linear on pixels | - | 0.8000 | 0.8000 to 0.8000 | 58,000 | - | - |"
    frozen = "| train-frozen | bundled 01234567 | 0.8000 | 0.8000 to 0.8000 | 58,000 | 4 | 1,000 |"
    for line in (linear, frozen, "| ResNet18 (published) | - | 0.9490 | - | - | - | - |"):
        assert line in text


def test_counts() -> None:
    assert (pages.thousands(None), pages.thousands(1234567)) == ("-", "1,234,567")
