import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, read_entries, small_params
from report_project import CELLS, make, scores, write_study

from thaw.data.fashion_mnist import CLASS_NAMES
from thaw.data.image_store import SMALL
from thaw.network.backbone import freeze_count
from thaw.network.weights import resnet50
from thaw.report import pages
from thaw.report.contents import Contents, gather
from thaw.report.drawing import draw
from thaw.report.studies import BLOCK_ENDS, BLOCK_NAMES
from thaw.report.tables import Difference, tables
from thaw.report.wording import causes, of_modes
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
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("random", "Weights: random. No pretrained weights were used"),
        ("bundled 01234567", "Weights: bundled 01234567, which come with thaw: a distilled approx"),
        ("imagenet", "Weights: imagenet."),
    ],
)
def test_the_first_line_says_which_weights(
    results: Path, template: str, weights: str, said: str
) -> None:
    text = render(results, template, baseline={"weights": weights})
    assert said in text.split("<body>")[-1].strip().splitlines()[0]


def test_the_first_line_says_if_the_curve_is_from_other_weights(results: Path) -> None:
    write_study(results)
    draw(results, gather(results), results / "plots")
    said = "The thaw curve is from other weights: bundled 01234567."
    assert said in render(results, "report.md.j2").splitlines()[0]
    assert said not in render(results, "report.md.j2", baseline={"weights": "bundled 01234567"})


@pytest.mark.parametrize("template", ["report.md.j2", "report.html.j2"])
def test_the_contents_lead_to_every_section(results: Path, template: str) -> None:
    write_study(results)
    draw(results, gather(results), results / "plots")
    text = render(results, template)
    # In Markdown, GitHub makes the anchors of the headings.
    titles = re.findall(r"^## (.+)", text, re.MULTILINE)
    anchors = [re.sub(r"[.,]", "", title).lower().replace(" ", "-") for title in titles]
    if template.endswith("html.j2"):
        anchors = re.findall(r'<h2 id="([^"]+)">', text)
    assert len(set(anchors)) == len(anchors) > 5
    assert re.findall(r'(?:\]\(|href=")#([^")]+)', text) == anchors


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
    assert all(source.startswith(("data:image/png;base64,", "data:,", "#")) for source in sources)
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
    lead = Difference("partial", "frozen", 0.05, low, 0.09)
    behind = Difference("full", "partial", -0.75, -0.8, -0.7)
    said = of_modes(three_modes(), [lead, behind])
    assert f"on the same 50 images: train-partial is {verdict} train-frozen (difference +0." in said
    assert "and ahead of train-full (difference +0.7500 [+0.7000, +0.8000])." in said
    assert "on 100 test images: train-frozen 0.8000 [0.6500, 0.8500], train-partial 0.8500" in said
    assert of_modes(three_modes(), [lead.turned, behind]) == said


def test_modes_on_different_images_are_not_ranked() -> None:
    modes = three_modes()
    modes["full"]["train_images"] = 1_000
    said = of_modes(modes, [])
    assert "different images (train-frozen 50, train-partial 50, train-full 1,000)" in said
    assert "do not say which mode is better" in said
    assert not re.search(r"ahead|distinguishable", said)


def three_modes() -> dict[str, dict[str, float | int]]:
    return {
        "frozen": scores(0.8, 0.65, 0.85),
        "partial": scores(0.85, 0.8, 0.9),
        "full": scores(0.1, 0.05, 0.2),
    }


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
    assert "train-full 0.9950 ± 0.0100 over 3 seeds" in text
    assert "| test accuracy over seeds | - | - | 0.9950 ± 0.0100 (3 seeds) |" in text


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


def test_the_answer_comes_from_the_curve(results: Path) -> None:
    """It is chosen on the validation images, and the least that does as well is named too."""
    write_study(results)
    draw(results, gather(results), results / "plots")
    text = render(results, "report.md.j2")
    for said in (
        "**How much to thaw: everything after conv1.** Of 21 depths",
        "on the same 58,000 images",
        "a test accuracy of 0.8700 [0.8500, 0.8900]; a new head alone reaches 0.8000",
        "is everything after conv4_block6: 0.8600 [0.8400, 0.8800], for 25 % of the multiplic",
    ):
        assert said in text
    rows = read_csv(results / "plots/study/curve.csv")
    assert [float(row["depth"]) for row in rows[:2]] == [0, 1]
    assert float(rows[-1]["depth"]) == 17


def test_the_blocks_of_the_curve_end_where_those_of_resnet50_do() -> None:
    backbone = resnet50(SMALL, top=False)
    ends = [freeze_count(backbone, name) for name in BLOCK_NAMES]
    assert ends[:-1] == list(BLOCK_ENDS[:-1])
    assert len(BLOCK_NAMES) == len(BLOCK_ENDS)


def test_counts() -> None:
    assert (pages.thousands(None), pages.thousands(1234567)) == ("-", "1,234,567")
