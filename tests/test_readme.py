"""The numbers in README.md and the other pages are the committed ones, and their files exist."""

import math
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, read_entries

from tests.reliability.mutations import MUTATIONS, table_row
from thaw.report.pages import slug
from thaw.report.results import MODES
from thaw.support import paths
from thaw.support.tables import read_csv, read_json

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs/results.md").read_text()


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as git's index has it, which is the next commit.

    Not as the work tree has it, where `dvc repro` on another processor, `dvc exp run` and the
    benchmarks rightly leave other numbers than those that the README tells of.
    """
    folder = tmp_path_factory.mktemp("committed")
    subprocess.run(["git", "checkout-index", "--all", f"--prefix={folder}/"], cwd=ROOT, check=True)
    return folder


def paragraph(text: str, words: str) -> str:
    """Return the only paragraph that has `words`, with its lines joined."""
    joined = (" ".join(part.split()) for part in text.split("\n\n"))
    (found,) = (part for part in joined if words in part)
    return found


def decimals(text: str, digits: int) -> list[str]:
    """Return the numbers with so many decimal places, in order."""
    return re.findall(rf"(?<![\d.])\d\.\d{{{digits}}}(?!\d)", text)


def test_the_readme_is_short() -> None:
    """It takes a newcomer minutes; what is longer stands in docs/."""
    assert len(README.split()) <= 1100


def test_the_readmes_table_is_of_the_thaw_curve(committed: Path) -> None:
    rows = runs(committed, "curve")
    whole = float(rows["0"]["training_macs"])
    for run in ("175", "conv3_block4", "conv1", "0"):
        accuracy, low, high = with_interval(rows[run])
        work = f"{float(rows[run]['training_macs']) / whole:.0%}".replace("%", " %")
        assert f"| {accuracy} | {low} to {high} | {work} |\n" in README


def comparison(committed: Path, name: str) -> dict[str, str]:
    """Return the row of the comparison whose name begins with `name`."""
    rows = read_csv(committed / "plots/modes/comparison.csv")
    (found,) = (row for row in rows if row["name"].startswith(name))
    return found


def shown_interval(row: Mapping[str, str]) -> str:
    """Return the ends of a row's interval as they are shown."""
    return f"{float(row['low']):.4f} to {float(row['high']):.4f}"


@pytest.mark.parametrize("mode", MODES)
def test_the_committed_metrics_are_those_of_the_committed_report(
    committed: Path, mode: str
) -> None:
    """The report is made from summary.json, which git does not have."""
    of, row = (
        read_json(committed / f"metrics/{mode}.json")[mode],
        comparison(committed, MODES[mode]),
    )
    assert of["acc"] == float(row["accuracy"])
    half = (float(row["high"]) - float(row["low"])) / 2
    assert of["ci95"] == pytest.approx(half, abs=1.1e-4), "of ends that were rounded"
    columns = {
        "ece": "calibration_error",
        "recall": "macro_recall",
        "trainable": "parameters_trained",
    }
    for name in columns.keys() & of.keys():
        assert of[name] == float(row[columns[name]]), name


@pytest.mark.parametrize("mode", MODES)
def test_the_table_shows_the_committed_results(committed: Path, mode: str) -> None:
    of = comparison(committed, MODES[mode])
    (row,) = (line for line in RESULTS.splitlines() if line.startswith(f"| {MODES[mode]}"))
    counts = (int(of[name]) for name in ("parameters_trained", "train_images", "images_seen"))
    for shown in (
        f"{float(of['accuracy']):.4f}",
        shown_interval(of),
        *(f"{count:,}" for count in counts),
    ):
        assert f"| {shown} |" in row


def test_the_references_are_the_committed_ones(committed: Path) -> None:
    of = comparison(committed, "linear on pixels")
    accuracy, images = float(of["accuracy"]), int(of["train_images"])
    row = f"| linear on pixels | {accuracy:.4f} | {shown_interval(of)} | - | {images:,} | - | - |"
    assert row in RESULTS.splitlines()


def cells(committed: Path) -> dict[tuple[str, str], dict[str, float]]:
    """Return the accuracies of the diagnosis with a frozen base, by range and statistics."""
    rows = read_csv(committed / "plots/diagnose/cells.csv")
    columns = ("train_accuracy", "validation_accuracy")
    return {
        (row["value_range"], row["statistics"]): {name: float(row[name]) for name in columns}
        for row in rows
        if row["freeze"] == "175"
    }


def test_the_cells_of_the_diagnosis_are_the_committed_ones(committed: Path) -> None:
    found = cells(committed)
    shown = [found[cell] for cell in (("0-1", "training"), ("0-255", "inference"))]
    expected = [f"{accuracy:.2f}" for cell in shown for accuracy in cell.values()]
    assert decimals(paragraph(README, "Their input is in [0, 1]"), 2) == expected


def test_the_numbers_of_why_are_the_committed_ones(committed: Path) -> None:
    text = (ROOT / "docs/why.md").read_text()
    found = cells(committed)
    right, both = found["0-255", "inference"], found["0-1", "training"]
    range_alone, statistics_alone = found["0-1", "inference"], found["0-255", "training"]
    shown = [cell["validation_accuracy"] for cell in (right, range_alone, statistics_alone)]
    shown += both.values()
    expected = [f"{accuracy:.3f}" for accuracy in shown]
    assert decimals(paragraph(text, "In thaw's committed run"), 3) == expected
    trained = [f"{cell['train_accuracy']:.3f}" for cell in (range_alone, both)]
    assert decimals(paragraph(text, "*hide* this mistake"), 3) == trained


def test_the_cells_of_the_three_notebooks_are_the_measured_ones(committed: Path) -> None:
    text = (ROOT / "docs/why.md").read_text()
    ranges = {"0-255": "0..255", "0-1": "[0, 1]"}
    kinds = {"inference": "stored statistics", "training": "batch statistics"}
    for row in read_csv(committed / "tools/study/results/notebook.csv"):
        notebook = row["run"].split("-")[1]
        frozen = {"175": "base frozen", "0": "nothing frozen"}
        what = f"{notebook}, {frozen.get(row['freeze'], row['freeze'] + ' layers frozen')}"
        train, validation = (float(row[f"{part}_accuracy"]) for part in ("train", "validation"))
        numbers = f"{train:.3f} | {validation:.3f} | {float(row['validation_loss']):.2f}"
        cell = f"{ranges[row['value_range']]} | {kinds.get(row['statistics'], row['statistics'])}"
        assert f"| {what} | {cell} | {numbers} |\n" in text


def test_the_spread_over_seeds_is_the_committed_one(committed: Path) -> None:
    frozen = comparison(committed, "train-frozen")
    mean, deviation = float(frozen["mean"]), float(frozen["deviation"])
    assert re.findall(r"0\.\d+ ± 0\.\d+", RESULTS) == [f"{mean:.4f} ± {deviation:.4f}"]


def accuracies(*rows: Mapping[str, str]) -> list[str]:
    """Return each row's test accuracy as it is shown."""
    return [f"{float(row['test_accuracy']):.4f}" for row in rows]


def with_interval(row: Mapping[str, str]) -> list[str]:
    """Return a row's test accuracy and the ends of its interval as they are shown."""
    return [f"{float(row[f'test_accuracy{end}']):.4f}" for end in ("", "_low", "_high")]


def runs(committed: Path, name: str) -> dict[str, dict[str, str]]:
    """Return the rows of a set's table by run."""
    rows = read_csv(committed / paths.STUDY / f"results/{name}.csv")
    return {row["run"]: row for row in rows}


def full_data(committed: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return the rows of the table of all training images by model and weights."""
    rows = read_csv(committed / "plots/study/full_data.csv")
    return {(row["model"], row["weights"].split(" ")[0]): row for row in rows}


def test_the_words_about_the_thaw_curve_are_of_its_table(committed: Path) -> None:
    rows = runs(committed, "curve")
    partial = f"{float(comparison(committed, 'train-partial')['accuracy']):.4f}"
    assert decimals(paragraph(RESULTS, "The thaw curve trains"), 4) == [
        *with_interval(rows["175"]),
        *with_interval(rows["conv1"]),
        *accuracies(rows["conv2_block3"], rows["0"]),
        partial,
        *accuracies(rows["10"]),
    ]


def test_the_words_about_all_training_images_are_of_their_tables(committed: Path) -> None:
    rows = full_data(committed)
    assert decimals(paragraph(RESULTS, "With all of them, a linear"), 4) == [
        *accuracies(rows["linear on pixels", "-"], rows["train-frozen", "bundled"]),
        *accuracies(rows["train-partial", "bundled"]),
        *with_interval(rows["train-full", "bundled"]),
    ]


def test_the_words_about_curves_without_pretraining_are_of_their_tables(committed: Path) -> None:
    rows, curve = full_data(committed), runs(committed, "curve-random")
    assert decimals(paragraph(RESULTS, "From random weights, the same"), 4) == [
        *accuracies(rows["train-partial", "random"]),
        *with_interval(rows["train-full", "random"]),
        *with_interval(rows["train-full, rate 0.003", "random"]),
        *accuracies(curve["0"], curve["conv3_block4"], curve["175"]),
    ]
    (scratch,) = runs(committed, "full-data-scratch").values()
    parts = [f"{float(scratch[f'{part}_accuracy']):.4f}" for part in ("train", "validation")]
    text = (ROOT / "docs/recipes.md").read_text()
    shown = decimals(paragraph(text, "is the long run with these findings"), 4)
    assert shown == [*parts, *with_interval(scratch)]


def test_the_recipes_are_those_of_the_tables(committed: Path) -> None:
    """Line by line, in the order of the document."""
    text = (ROOT / "docs/recipes.md").read_text()
    expected = []
    for name in ("partial", "partial-2", "scratch", "full"):
        for row in runs(committed, f"recipes-{name}").values():
            if "validation_accuracy" in row:
                accuracy = f"{float(row['validation_accuracy']):.4f}"
            else:
                ends = ("mean", "std")
                mean, deviation = (float(row[f"validation_accuracy_{end}"]) for end in ends)
                accuracy = f"{mean:.4f} ± {deviation:.4f}"
            loss, train = float(row["validation_loss"]), float(row["train_accuracy"])
            expected.append(f"{accuracy} | {loss:.3f} | {train:.3f}")
    assert re.findall(r"^\| .* \| (0\.\d{4}.* \| .* \| .*) \|$", text, re.MULTILINE) == expected


def test_the_mutations_are_those_that_are_tried() -> None:
    text = (ROOT / "docs/reliability.md").read_text()
    assert "\n".join(table_row(name, mutation) for name, mutation in MUTATIONS.items()) in text


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


def anchors(text: str) -> set[str]:
    """Return what GitHub calls the headings of a page in links."""
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "benchmarks/README.md", "pretrain/README.md"),
        *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
    ],
)
def test_what_it_links_to_exists(name: str) -> None:
    path = ROOT / name
    found = re.findall(r"\]\(([^)]+)\)", path.read_text())
    links = [link for link in found if "://" not in link]
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def test_the_params_that_pages_set_exist() -> None:
    pages = [README, *(path.read_text() for path in (ROOT / "docs").glob("*.md"))]
    found = [path for page in pages for path in re.findall(r"-S ['\"]?([a-z_.]+)=", page)]
    assert "train_full.augment.flip" in found
    for path in found:
        section = read_entries()
        for name in path.split("."):
            assert name in section, path
            section = section[name]


def test_the_benchmarks_are_the_committed_ones(committed: Path) -> None:
    table = (committed / "benchmarks/results.md").read_text().strip()
    assert table.count("\n|") > 4
    assert table in (ROOT / "benchmarks/README.md").read_text()


@pytest.mark.parametrize("name", ["engines", "scaling", "memory", "overhead"])
def test_the_other_measurements_are_the_committed_ones(committed: Path, name: str) -> None:
    measured = (committed / f"benchmarks/{name}.md").read_text().strip()
    assert measured in (ROOT / "benchmarks/README.md").read_text()


def test_the_words_about_another_processor_are_of_the_committed_metrics(committed: Path) -> None:
    """The last of the results that it tells of are those that are there now."""
    words = " ".join((ROOT / "docs/reliability.md").read_text().split())
    full, frozen = (
        read_json(committed / f"metrics/{mode}.json")[mode]["acc"] for mode in ("full", "frozen")
    )
    told = f"has a test accuracy of {full:.4f} and of train-frozen {frozen:.4f}, as another seed"
    assert told in words
