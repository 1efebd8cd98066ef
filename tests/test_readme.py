"""The README's numbers are the committed ones, and its files exist."""

import re

import pytest
from conftest import ROOT

from thaw.files import read_json
from thaw.reporting import MODES

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
        assert f"{metrics[f'{cell}_train_accuracy']:.2f}" in README
        assert f"{metrics[f'{cell}_validation_accuracy']:.2f}" in README


def test_what_it_links_to_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_the_params_it_sets_exist() -> None:
    params = (ROOT / "params.yaml").read_text()
    for path in re.findall(r"-S '?([a-z_.]+)=", README):
        assert re.search(rf"^ *{path.split('.')[-1]}:", params, re.MULTILINE), path
