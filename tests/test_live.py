"""The curves of a training while it runs: each epoch once, and nothing depends on them."""

import csv
import json
import os
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import dvclive
import numpy as np
import pytest
from small_net import batches, network, others, settings

from thaw.support import paths
from thaw.support.environment import settle
from thaw.training.checkpoint import Checkpoint
from thaw.training.fitting import fit
from thaw.training.history import HISTORY_COLUMNS, History
from thaw.training.live import LiveCurves

CURVES, NUMBERS = paths.LIVE / "plots/partial/metrics", paths.LIVE / "metrics/partial.json"


def train(root: Path, epochs: int, live: bool = True) -> tuple[History, list[np.ndarray]]:
    """Fit the small net, or go on where the last call in `root` ended."""
    model = network()
    curves = LiveCurves(root, "partial") if live else None
    kept = Checkpoint(root / "checkpoint")
    history = fit(model, batches(), others(), settings(epochs=epochs), kept, live=curves)
    return history, model.get_weights()


def rows(root: Path) -> list[dict[str, float]]:
    """Return what the curves show, as the rows of a history."""
    shown: dict[int, dict[str, float]] = {}
    for name in HISTORY_COLUMNS[1:]:
        with (root / CURVES / f"{name}.tsv").open(newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t")):
                shown.setdefault(i, {"epoch": int(row["step"])})[name] = float(row[name])
    return list(shown.values())


def test_the_curves_are_those_of_the_history(tmp_path: Path) -> None:
    history, _ = train(tmp_path, 3)
    assert rows(tmp_path) == history.rows
    assert not (tmp_path / NUMBERS).exists(), "they would be columns of `dvc exp show`"


@pytest.mark.parametrize("kept", ["as it was", "longer", "other", "none"])
def test_a_resumed_run_shows_each_epoch_once(tmp_path: Path, kept: str) -> None:
    """Whatever the run left that was interrupted, or another run since."""
    train(tmp_path, 2)
    for path in (tmp_path / CURVES).iterdir():
        if kept == "longer":
            path.write_text(path.read_text() + "3\t9.9\n")
        elif kept == "other":
            path.write_text("something else")
        elif kept == "none":
            path.unlink()
    history, _ = train(tmp_path, 4)
    assert [row["epoch"] for row in rows(tmp_path)] == [1, 2, 3, 4]
    assert rows(tmp_path) == history.rows
    assert rows(tmp_path) == train(tmp_path, 4)[0].rows, "also where nothing is left to train"


def test_the_numbers_of_the_last_epoch_are_there_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    next_step = dvclive.Live.next_step

    def look(live: dvclive.Live) -> None:
        next_step(live)
        seen.append(json.loads((tmp_path / NUMBERS).read_text()))

    monkeypatch.setattr(dvclive.Live, "next_step", look)
    history, _ = train(tmp_path, 2)
    assert [row | {"epoch": row["step"]} for row in seen] == [
        row | {"step": row["epoch"]} for row in history.rows
    ]


def test_the_weights_are_the_same_without_the_curves(tmp_path: Path) -> None:
    histories, weights = zip(
        *(train(tmp_path / name, 2, live=name == "with") for name in ("with", "without")),
        strict=True,
    )
    assert histories[0] == histories[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: (root / paths.LIVE).touch(),
        lambda root: (root / paths.LIVE).symlink_to("nowhere"),
        lambda root: os.mkfifo(root / paths.LIVE),
        lambda root: (
            (root / CURVES).parents[1].mkdir(parents=True),
            os.mkfifo(root / CURVES.parent),
        ),
    ],
    ids=["file", "link", "fifo", "fifo inside"],
)
def test_a_training_goes_on_without_curves(
    tmp_path: Path, spoil: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / paths.LIVE).parent.mkdir()
    spoil(tmp_path)
    history, _ = train(tmp_path, 2)
    assert history.epochs == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"warning: the curves in {tmp_path / paths.LIVE} cannot be written")


def test_a_training_outlives_a_disk_that_fills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dvclive.Live, "make_summary", full)
    assert train(tmp_path, 3)[0].epochs == 3
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_no_variable_of_the_shells_moves_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor sends them anywhere: the last address would refuse, and DVCLive would say so."""
    shell = {"DVCLIVE_TEST": "1", "DVCLIVE_RESUME": "1", "DVCLIVE_LOGLEVEL": "nonsense"}
    settle(shell)
    assert not [name for name in shell if name.startswith("DVCLIVE_")]
    studio = {"DVC_STUDIO_TOKEN": "isat_secret", "DVC_STUDIO_URL": "http://127.0.0.1:1"}
    exp = {"DVC_EXP_BASELINE_REV": "0" * 40, "DVC_EXP_NAME": "not/a name"}
    for name, value in (studio | exp | {"DVC_STUDIO_REPO_URL": "x"}).items():
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr("socket.socket.connect", lambda *address: asked.append(address))
    monkeypatch.setattr("dvclive.studio.post_live_metrics", lambda *_, **__: asked.append("post"))
    monkeypatch.chdir(tmp_path)
    history, _ = train(tmp_path, 2)
    assert rows(tmp_path) == history.rows
    assert not asked
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint", "data"}


def test_dvclive_has_what_thaw_replaces_in_it() -> None:
    version = metadata.version("dvclive")
    for name in ("_init_dvc", "_init_studio", "plots_dir", "metrics_file"):
        assert hasattr(dvclive.Live, name), f"DVCLive {version} has no {name}: change live.py"
