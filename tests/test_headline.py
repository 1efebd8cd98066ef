"""What DVC compares of each mode: few numbers, under names that fit a table."""

from conftest import ROOT

from thaw.findings.headline import headline
from thaw.report.results import MODES
from thaw.support.nested import flat
from thaw.support.tables import read_json

SUMMARY = {
    "test_accuracy": 0.8,
    "test_accuracy_low": 0.75,
    "test_accuracy_high": 0.84,
    "calibration_error": 0.02,
    "test_loss": 0.5,
    "test_macro_recall": 0.79,
    "parameters_trainable": 1234,
    "weights": "random",
    "train_accuracy": 0.9,
}


def test_the_numbers_of_the_mode_that_experiments_vary() -> None:
    content = headline("partial", SUMMARY)
    width = content["partial"].pop("ci95")
    assert round(width, 6) == 0.045, "half of it, on each side"
    assert content["partial"] == {
        "acc": 0.8,
        "ece": 0.02,
        "loss": 0.5,
        "recall": 0.79,
        "trainable": 1234,
        "weights": "random",
    }


def test_the_modes_to_compare_with_have_their_accuracy_alone() -> None:
    for mode in ("frozen", "full"):
        content = headline(mode, SUMMARY)
        assert list(content) == [mode], "then DVC leaves the file's name out"
        assert set(content[mode]) == {"acc", "ci95"}


def test_at_most_ten_numbers_are_compared_and_they_are_the_committed_ones() -> None:
    names = {name for mode in MODES for name, _ in flat(headline(mode, SUMMARY))}
    assert len(names - {"partial.weights"}) <= 10
    committed = [flat(read_json(path)) for path in (ROOT / "metrics").iterdir()]
    assert {name for entries in committed for name, _ in entries} == names
