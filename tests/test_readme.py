"""The README's numbers are the committed ones, and its files exist."""

import re

import pytest
from conftest import ROOT

from thaw.drawing import MODES
from thaw.files import read_json

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("mode", MODES)
def test_the_table_shows_the_committed_metrics(mode: str) -> None:
    metrics = read_json(ROOT / f"metrics/{mode}.json")
    row = next(line for line in README.splitlines() if line.startswith(f"| {MODES[mode]}"))
    for shown in (
        f"{metrics['test_accuracy']:.4f}",
        f"{metrics['test_accuracy_low']:.4f} to {metrics['test_accuracy_high']:.4f}",
        f"{metrics['parameters_trainable']:,}",
        f"{metrics['train_images']:,}",
        f"{metrics['images_seen']:,}",
    ):
        assert f"| {shown} |" in row


def test_the_references_are_the_committed_ones() -> None:
    baseline = read_json(ROOT / "metrics/baseline.json")
    assert f"| {baseline['linear_pixels_accuracy']:.4f} |" in README


def test_the_cells_of_the_diagnosis_are_the_committed_ones() -> None:
    metrics = read_json(ROOT / "metrics/diagnose.json")
    for cell in ("byte_stored", "unit_batch"):
        assert f"{metrics[f'freeze_175_{cell}_train_accuracy']:.2f}" in README
        assert f"{metrics[f'freeze_175_{cell}_validation_accuracy']:.2f}" in README


def test_the_numbers_of_why_are_the_committed_ones() -> None:
    text = (ROOT / "docs/why.md").read_text()
    metrics = read_json(ROOT / "metrics/diagnose.json")
    for name in (
        *("byte_stored_validation", "unit_stored_validation", "byte_batch_validation"),
        *("unit_batch_train", "unit_batch_validation", "unit_stored_train"),
    ):
        assert f"{metrics[f'freeze_175_{name}_accuracy']:.3f}" in text


def test_the_spread_over_seeds_is_the_committed_one() -> None:
    frozen = read_json(ROOT / "metrics/frozen.json")
    mean, deviation = frozen["test_accuracy_mean"], frozen["test_accuracy_std"]
    assert f"{mean:.4f} ± {deviation:.4f}" in README


@pytest.mark.parametrize(
    "name", ["README.md", "docs/why.md", "benchmarks/README.md", "pretrain/README.md"]
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


def test_the_benchmarks_are_the_committed_ones() -> None:
    table = (ROOT / "benchmarks/results.md").read_text().strip()
    assert table.count("\n|") > 4
    assert table in (ROOT / "benchmarks/README.md").read_text()
    assert table in README
