import io
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from rich.console import Console
from rich.table import Table

from tests.reliability.project import Project
from tools.compare import Experiment, experiment, experiments_table, modes_table
from tools.dvc_queue import look


def printed(table: Table) -> str:
    file = io.StringIO()
    Console(width=160, file=file).print(table)
    return file.getvalue()


def test_the_modes() -> None:
    metrics = {"test_accuracy": 0.8, "test_accuracy_low": 0.75, "test_accuracy_high": 0.85}
    metrics |= {"parameters_trainable": 1234, "train_images": 5000}
    text = printed(modes_table({"frozen": metrics}))
    for shown in ("train-frozen", "0.8000", "0.7500 to 0.8500", "1,234", "5,000"):
        assert shown in text


def some(name: str, state: str, params: dict[str, Any], **accuracies: object) -> Experiment:
    return Experiment(name, "main", state, params, accuracies)


def test_experiments_show_the_params_in_which_they_differ() -> None:
    rows = [
        some("warm-ibis", "success", {"freeze": 10, "seed": 0}, partial=0.81),
        some("cold-newt", "queued", {"freeze": "conv4", "seed": 0}),
    ]
    text = printed(experiments_table(rows))
    for shown in ("warm-ibis", "cold-newt", "freeze", "10 ", "conv4", "0.81", "train-partial"):
        assert shown in text
    assert "seed" not in text


@pytest.mark.parametrize("state", ["queued", "running", "failed", "success", None])
def test_what_was_not_measured_is_left_out(state: str | None) -> None:
    """DVC gives a failed and a running experiment the metrics of the commit."""
    entry = {
        "revs": [
            {
                "rev": "29392fbefdac113bba76cb6d71600c2779294dd7",
                "name": None,
                "data": {
                    "params": {"params.yaml": {"data": {"freeze": 1, "head": {"l2": 0.1}, "x": 1}}},
                    "metrics": {"metrics/partial.json": {"data": {"test_accuracy": 0.1}}},
                },
                "error": {"msg": "Experiment run failed", "type": ""},
            }
        ],
        "executor": state and {"state": state, "name": None},
        "name": None,
    }
    found = experiment("main", entry)
    assert (found.name, found.commit) == ("29392fb", "main")
    assert found.params == {"freeze": 1, "head.l2": 0.1}
    if state in ("success", None):
        assert (found.state, found.accuracies["partial"]) == ("success", 0.1)
    else:
        assert (found.state, found.accuracies) == (state, {})


PIPELINE = """stages:
  s:
    cmd: python s.py
    deps: [s.py]
    params: [freeze]
    metrics: [metrics/partial.json: {cache: false}]
"""
STAGE = """import json, ruamel.yaml
freeze = ruamel.yaml.YAML(typ="safe").load(open("params.yaml"))["freeze"]
assert freeze != 13
json.dump({"test_accuracy": freeze / 100}, open("metrics/partial.json", "w"))
"""


def row(text: str, name: str) -> list[str]:
    """Return the cells of an experiment's row; the last is train-full's accuracy."""
    line = next(line for line in text.splitlines() if f" {name} " in line)
    return [cell.strip() for cell in re.split("[│┃]", line)[1:-1]]


def compare(project: Project, code: int = 0) -> str:
    """Return what `make compare` shows, on a wide terminal."""
    changes = {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return project.run(sys.executable, "-m", "tools.compare", code=code, changes=changes)


@pytest.mark.slow
def test_experiments_of_all_states_and_of_an_earlier_commit(tmp_path: Path) -> None:
    scores = dict.fromkeys(("test_accuracy", "test_accuracy_low", "test_accuracy_high"), 0.9)
    other = scores | {"parameters_trainable": 1, "train_images": 1}
    (tmp_path / "metrics").mkdir()
    for mode in ("frozen", "full", "partial"):
        (tmp_path / f"metrics/{mode}.json").write_text(json.dumps(other))
    texts = {"dvc.yaml": PIPELINE, "s.py": STAGE, "params.yaml": "freeze: 10\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    project = Project(tmp_path)
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.dvc("init", "--quiet")
    project.commit()
    assert "No experiments yet" in compare(project)
    for name, freeze in (("done", 20), ("bad", 13)):
        project.dvc("exp", "run", "--queue", "--name", name, "-S", f"freeze={freeze}")
    project.dvc("queue", "start")
    deadline = time.monotonic() + 120
    while (queue := look(tmp_path)).workers or "bad" not in queue.names("Failed"):
        assert time.monotonic() < deadline, "a live worker would run the next one, too"
    project.dvc("exp", "run", "--queue", "--name", "waits", "-S", "freeze=30")
    text = compare(project)
    assert row(text, "done")[1:] == ["main", "success", "20", "-", "0.2", "-"]
    assert row(text, "bad")[1:] == ["main", "failed", "13", "-", "-", "-"]
    assert row(text, "waits")[1:] == ["main", "queued", "30", "-", "-", "-"]
    before = project.run("git", "rev-parse", "HEAD")[:7]
    project.commit()
    for name in ("done", "bad", "waits"):
        assert row(compare(project), name)[1] == before
    (tmp_path / "metrics/full.json").write_text("{")
    assert "error: metrics/ cannot be shown" in compare(project, code=1)
