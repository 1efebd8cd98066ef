"""The README's numbers are the committed ones, and its files exist."""

import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from reliability.mutations import MUTATIONS
from thaw.report.results import MODES
from thaw.support.files import read_csv, read_json

README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as git's index has it, which is the next commit.

    Not as the work tree has it, where `dvc repro` on another processor, `dvc exp run` and the
    benchmarks rightly leave other numbers than those that the README tells of.
    """
    folder = tmp_path_factory.mktemp("committed")
    subprocess.run(["git", "checkout-index", "--all", f"--prefix={folder}/"], cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_the_table_shows_the_committed_metrics(committed: Path, mode: str) -> None:
    metrics = read_json(committed / f"metrics/{mode}.json")
    rows = [line for line in README.splitlines() if line.startswith(f"| {MODES[mode]}")]
    row, stage = rows  # of the results, of the stages
    assert (row.count("|"), stage.count("|")) == (8, 3)
    for shown in (
        f"{metrics['test_accuracy']:.4f}",
        f"{metrics['test_accuracy_low']:.4f} to {metrics['test_accuracy_high']:.4f}",
        f"{metrics['parameters_trainable']:,}",
        f"{metrics['train_images']:,}",
        f"{metrics['images_seen']:,}",
    ):
        assert f"| {shown} |" in row


def test_the_references_are_the_committed_ones(committed: Path) -> None:
    baseline = read_json(committed / "metrics/baseline.json")
    assert f"| {baseline['linear_pixels_accuracy']:.4f} |" in README


def test_the_cells_of_the_diagnosis_are_the_committed_ones(committed: Path) -> None:
    metrics = read_json(committed / "metrics/diagnose.json")
    for cell in ("byte_stored", "unit_batch"):
        assert f"{metrics[f'freeze_175_{cell}_train_accuracy']:.2f}" in README
        assert f"{metrics[f'freeze_175_{cell}_validation_accuracy']:.2f}" in README


def test_the_numbers_of_why_are_the_committed_ones(committed: Path) -> None:
    text = (ROOT / "docs/why.md").read_text()
    metrics = read_json(committed / "metrics/diagnose.json")
    for name in (
        *("byte_stored_validation", "unit_stored_validation", "byte_batch_validation"),
        *("unit_batch_train", "unit_batch_validation", "unit_stored_train"),
    ):
        assert f"{metrics[f'freeze_175_{name}_accuracy']:.3f}" in text


def test_the_cells_of_the_three_notebooks_are_the_measured_ones(committed: Path) -> None:
    text = (ROOT / "docs/why.md").read_text()
    ranges = {"0-255": "0..255", "0-1": "[0, 1]"}
    kinds = {"inference": "stored statistics", "training": "batch statistics"}
    for row in read_csv(committed / "study/results/notebook.csv"):
        notebook = row["run"].split("-")[1]
        frozen = {"175": "base frozen", "0": "nothing frozen"}
        what = f"{notebook}, {frozen.get(row['freeze'], row['freeze'] + ' layers frozen')}"
        train, validation = (float(row[f"{part}_accuracy"]) for part in ("train", "validation"))
        numbers = f"{train:.3f} | {validation:.3f} | {float(row['validation_loss']):.2f}"
        cell = f"{ranges[row['value_range']]} | {kinds.get(row['statistics'], row['statistics'])}"
        assert f"| {what} | {cell} | {numbers} |\n" in text


def test_the_spread_over_seeds_is_the_committed_one(committed: Path) -> None:
    frozen = read_json(committed / "metrics/frozen.json")
    mean, deviation = frozen["test_accuracy_mean"], frozen["test_accuracy_std"]
    assert f"{mean:.4f} ± {deviation:.4f}" in README


def test_the_words_about_the_thaw_curve_are_of_its_table(committed: Path) -> None:
    words = " ".join(README.split())
    paragraph = words[words.index("How much to thaw: ") : words.index("![Test accuracy with its")]
    rows = {row["run"]: row for row in read_csv(committed / "study/results/curve.csv")}
    for run in ("175", "conv1", "conv2_block3", "0"):
        assert f"{float(rows[run]['test_accuracy']):.4f}" in paragraph
    for run in ("175", "conv1"):
        low, high = (float(rows[run][f"test_accuracy_{end}"]) for end in ("low", "high"))
        assert f"({low:.4f} to {high:.4f})" in paragraph


def test_the_words_about_all_training_images_are_of_their_tables(committed: Path) -> None:
    words = " ".join(README.split())
    paragraph = words[words.index("On all 58,000 training images") : words.index("Read the table")]
    for row in read_csv(committed / "plots/study/full_data.csv"):
        measured = "(published)" not in row["model"]
        if measured and (row["model"], row["weights"]) != ("train-frozen", "random"):
            assert f"{float(row['test_accuracy']):.4f}" in paragraph
        if row["model"].startswith("train-full"):
            low, high = (float(row[f"test_accuracy_{end}"]) for end in ("low", "high"))
            assert f"({low:.4f} to {high:.4f})" in paragraph


def test_the_words_about_curves_without_pretraining_are_of_their_tables(committed: Path) -> None:
    words = " ".join(README.split())
    paragraph = words[words.index("What pretraining is worth: ") : words.index("Read the table")]
    rows = {row["run"]: row for row in read_csv(committed / "study/results/curve-random.csv")}
    for run in ("0", "conv3_block4", "175"):
        assert f"{float(rows[run]['test_accuracy']):.4f}" in paragraph
    (scratch,) = read_csv(committed / "study/results/full-data-scratch.csv")
    text = " ".join((ROOT / "docs/recipes.md").read_text().split())
    for part, named in (("train", "training"), ("validation", "validation"), ("test", "test")):
        assert f"{named} accuracy of {float(scratch[f'{part}_accuracy']):.4f}" in text


def test_the_recipes_are_those_of_the_tables(committed: Path) -> None:
    text = (ROOT / "docs/recipes.md").read_text()
    tables = sorted(committed.glob("study/results/recipes-*.csv"))
    assert tables
    for row in (row for table in tables for row in read_csv(table)):
        if "validation_accuracy" in row:
            accuracy = row["validation_accuracy"].ljust(6, "0")
        else:
            mean, deviation = (float(row[f"validation_accuracy_{end}"]) for end in ("mean", "std"))
            accuracy = f"{mean:.4f} ± {deviation:.4f}"
        loss, train = float(row["validation_loss"]), float(row["train_accuracy"])
        assert f" | {accuracy} | {loss:.3f} | {train:.3f} |\n" in text


def test_the_mutations_are_those_that_are_tried() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    rows = [f"| {name} | {m.file} | tests/{m.tests}.py | yes |" for name, m in MUTATIONS.items()]
    assert "\n".join(rows) in text


def test_what_longer_distilling_would_take_is_reckoned_from_its_curve(committed: Path) -> None:
    words = " ".join((ROOT / "pretrain/README.md").read_text().split())
    metrics = read_json(committed / "pretrain/metrics.json")
    rows = read_csv(committed / "pretrain/distil.csv")
    curve = {int(row["step"]): float(row["agreement_32"]) for row in rows}
    steps = [step for step in curve if 1000 <= step <= 5500]
    slope = float(np.polyfit(np.log2(steps), [curve[step] for step in steps], 1)[0])
    now = metrics["bundled_agreement_32_all"]
    assert f"rises by {slope:.3f} whenever the steps double" in words
    assert f"adds {curve[9000] - curve[5500]:.2f} once" in words
    ten_hours = now + slope * math.log2(10 * 60 / 80)
    assert (
        f"ten hours, {10 * 60 / 80} times as many, bring the {now:.3f} to {ten_hours:.2f}" in words
    )
    doublings = (0.5 - now) / slope
    assert f"0.5 lies {doublings:.1f} doublings away, {80 / 60 * 2**doublings:.0f} hours" in words


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "docs/why.md", "docs/recipes.md", "docs/reliability.md"),
        *("benchmarks/README.md", "pretrain/README.md"),
    ],
)
def test_what_it_links_to_exists(name: str) -> None:
    path = ROOT / name
    found = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    links = [link for link in found if "://" not in link]
    assert links
    assert all((path.parent / link).exists() for link in links)


def test_the_params_it_sets_exist() -> None:
    params = (ROOT / "params.yaml").read_text()
    for path in re.findall(r"-S '?([a-z_.]+)=", README):
        assert re.search(rf"^ *{path.split('.')[-1]}:", params, re.MULTILINE), path


def test_the_benchmarks_are_the_committed_ones(committed: Path) -> None:
    table = (committed / "benchmarks/results.md").read_text().strip()
    assert table.count("\n|") > 4
    assert table in (ROOT / "benchmarks/README.md").read_text()
    assert table in README


@pytest.mark.parametrize("name", ["engines", "scaling", "memory", "overhead"])
def test_the_other_measurements_are_the_committed_ones(committed: Path, name: str) -> None:
    measured = (committed / f"benchmarks/{name}.md").read_text().strip()
    assert measured in (ROOT / "benchmarks/README.md").read_text()
    if name == "scaling":
        assert measured.splitlines()[0] in README


def test_the_words_about_another_processor_are_of_the_committed_metrics(committed: Path) -> None:
    """The later of the two results that it tells of are those that are there now."""
    words = " ".join((ROOT / "docs/reliability.md").read_text().split())
    full = read_json(committed / "metrics/full.json")
    assert f"test accuracy {full['test_accuracy']:.4f} instead of 0.8289" in words
    assert f"the {full['best_epoch']}th of train-full's twelve epochs the best" in words
