"""What turns measurements into the table; the measurements themselves are no test's business."""

import itertools
import subprocess
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import refusal

from benchmarks import cases, overhead
from benchmarks.__main__ import Row, markdown
from benchmarks.cases import notebook_resize, reckoned
from benchmarks.scaling import EPOCHS, reckoned_imagenet
from thaw.data.resizing import resize_gray, to_rgb


def test_the_table_by_hand() -> None:
    full = [Row("full", 0, 10.0, 0.0, 5.0), Row("full", 1, 12.0, 3.0, 4.0)]
    lines = markdown([*full, Row("no-op", 0, 1.0, 0.0, 2.0)], "full").splitlines()
    assert lines[2].startswith("| full, one epoch: plain `fit` | 11.00 s | 1.50 s | 4.50 s |")
    assert lines[2].endswith("| 2.50 (2.00 to 3.00) | 2.12 (2.00 to 2.25) |")
    assert lines[3].endswith("| 1.00 s | 0.00 s | 2.00 s | 0.50 | 0.50 |")


def ticking() -> SimpleNamespace:
    """Return a clock that goes on a second whenever it is read."""
    return SimpleNamespace(perf_counter=itertools.count().__next__)


@pytest.mark.parametrize("method", ["fit", "predict"])
def test_what_keras_does_not_spend_in_its_steps_is_waiting(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 7 s, three steps take 3."""
    monkeypatch.setattr(cases, "time", ticking())
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    arguments = {"x": np.zeros((5, 1)), "batch_size": 2}
    if method == "fit":
        arguments["y"] = np.zeros(5)
    result = cases.plain_keras(getattr(model, method), 10, **arguments)
    assert result == {"seconds": 70, "waiting_seconds": 40}


def test_what_imagenet_takes_by_hand() -> None:
    """20 times 60,000 images; 0.02 s for each of 224 px; 1 GB more for 10,000; 3 s an epoch."""
    before = {"images": 20_000, "peak_gb": 4.0}
    most = {"images": 60_000, "peak_gb": 8.0, "disk_gb": 0.5, "training_seconds": 3.0 * EPOCHS}
    said = reckoned_imagenet([before, most], {"images": 1000, "features_seconds": 20.0})
    assert "1.2 million images" in said
    assert "take 6.7 hours for their features (50.0 images/s here), 10.0 GB of disk" in said
    assert "122.0 GB of memory and 1.0 minutes an epoch" in said


def test_part_of_the_work_is_reckoned_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 s for a fifth of the work."""
    monkeypatch.setattr(cases, "time", ticking())
    assert reckoned(lambda: None, 5) == {"seconds": 5}


def test_the_naive_loop_makes_the_pictures_that_thaw_makes() -> None:
    """To a level at 32 px; at 224 to two, since thaw rounds in between, ties up."""
    gray = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    small, large = notebook_resize(gray[0])
    expected = resize_gray(gray, 32)
    assert np.abs(small.astype(int) - to_rgb(expected)[0]).max() <= 1
    assert np.abs(large.astype(int) - to_rgb(resize_gray(expected, 224))[0]).max() <= 2


def test_what_an_idle_run_is_made_of_by_hand() -> None:
    stage = {
        "cmd": "python -m stages.train",
        "deps": ["data/images", "stages/train.py", "thaw/support/files.py"],
        "params": ["seed"],
        "metrics": [{"metrics/m.json": {"cache": False}}],
        "outs": ["data/models"],
    }
    assert overhead.outs(stage) == ["data/models", "metrics/m.json"]
    assert overhead.without_packages(stage)["deps"] == ["data/images", "stages/train.py"]
    assert overhead.on_the_folder(stage)["deps"] == ["data/images", "stages/train.py", "thaw"]
    assert "params" not in overhead.without_params(stage)
    assert "params" in stage, "what is compared shares its stages"
    lines = overhead.markdown([{"e": 1.0, "t": 1.5}, {"e": 2.0, "t": 2.0}]).splitlines()
    assert lines[2:4] == ["| e | 1.50 s | 1.00 |", "| t | 1.75 s | 1.25 |"]


def test_an_idle_stage_writes_what_it_declares(tmp_path: Path) -> None:
    stage = {"outs": ["data/models"], "metrics": [{"metrics/m.json": {"cache": False}}]}
    for line in overhead.idle(stage)["cmd"]:
        subprocess.run(line, shell=True, cwd=tmp_path, check=True)
    assert (tmp_path / "data/models").is_file()
    assert (tmp_path / "metrics/m.json").is_file()


def test_an_unknown_case_is_refused() -> None:
    assert "Received: nothing" in refusal("benchmarks", "nothing")
