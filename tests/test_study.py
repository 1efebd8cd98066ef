"""Sets of experiments: what they ask exists, and what they give becomes a table."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import IDENTITY, ROOT, refusal

from study.__main__ import Set, check_committed, git, load_sets, table
from thaw.params import Params

SETS = load_sets()


@pytest.mark.parametrize("name", SETS)
def test_every_experiment_has_valid_params(name: str) -> None:
    chosen = SETS[name]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    written = stages[chosen.stage]["metrics"]
    assert chosen.metrics in [path for entry in written for path in entry]
    for run in chosen.runs:
        entries = yaml.safe_load((ROOT / "params.yaml").read_text())
        for change in chosen.overrides(run):
            path, value = change.split("=", 1)
            *sections, last = path.split(".")
            section = entries
            for part in sections:
                section = section[part]
            assert last in section, path
            section[last] = yaml.safe_load(value)
        Params.model_validate(entries)


def test_the_names_suit_git_and_dvc() -> None:
    for name, chosen in SETS.items():
        for run in chosen.runs:
            assert re.fullmatch(r"[\w-]+", f"{name}-{run}")


def chosen(**changes: object) -> Set:
    fields = {"question": "?", "stage": "s", "metrics": "m", "keep": ["a*"], "common": {}}
    return Set.model_validate(fields | {"runs": {"one": {"x": 1}}} | changes)


def test_overrides_as_dvc_takes_them() -> None:
    some = chosen(common={"head.units": [128, 64], "x": 0}, runs={"one": {"x": "byte", "y": 0.5}})
    assert some.overrides("one") == ["head.units=[128,64]", "x=byte", "y=0.5"]


def test_a_row_holds_what_is_kept() -> None:
    assert list(table(chosen(), {"b": 1, "a2": 2, "a1": 3})) == [{"a2": 2, "a1": 3}]


def test_metrics_that_name_their_row() -> None:
    metrics = {"a_1_loss": 0.5, "a_1_accuracy": 0.9, "a_2_loss": 0.4, "a": 7}
    pattern = r"a_(?P<part>\d)_(?P<column>loss|accuracy)"
    assert list(table(chosen(rows=pattern), metrics)) == [
        {"part": "1", "loss": 0.5, "accuracy": 0.9},
        {"part": "2", "loss": 0.4},
    ]


def test_uncommitted_changes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "params.yaml"
    path.write_text("freeze: 10")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "-m", "x")):
        git(*command)
    check_committed()
    path.write_text("freeze: 20")
    with pytest.raises(SystemExit, match=r"M params\.yaml\nCommit it"):
        check_committed()


TINY_SET = """tiny:
  question: What is twice x?
  stage: double
  metrics: metrics.json
  keep: ['y']
  common: {b.c: [1, 2]}
  runs: {one: {x: 1}, half: {x: 2.5}, word: {x: byte}, as-it-is: {}}
"""
TINY_PIPELINE = """stages:
  double:
    cmd: python double.py
    deps: [double.py]
    params: [x, b]
    metrics: [metrics.json: {cache: false}]
"""
TINY_STAGE = """import json, yaml
params = yaml.safe_load(open("params.yaml"))
json.dump({"y": params["x"] * 2, "sum": sum(params["b"]["c"])}, open("metrics.json", "w"))
"""


@pytest.mark.slow
def test_a_set_is_run_by_dvcs_queue_once_and_collected(tmp_path: Path) -> None:
    """By the real queue, in a project whose stage takes no time."""
    shutil.copytree(ROOT / "study", tmp_path / "study", ignore=shutil.ignore_patterns("*.csv"))
    files = {"study/sets.yaml": TINY_SET, "dvc.yaml": TINY_PIPELINE, "double.py": TINY_STAGE}
    files |= {"params.yaml": "x: 7\nb:\n  c:\n  - 0\n", ".gitignore": "__pycache__\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **IDENTITY, "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(*command: str) -> str:
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    dvc = (sys.executable, "-m", "dvc")
    run("git", "init", "--quiet")
    run(*dvc, "init", "--quiet")
    run(*dvc, "repro", "--quiet")
    run("git", "add", ".")
    run("git", "commit", "--quiet", "--message", "x")
    study = (sys.executable, "-m", "study", "tiny")
    assert "tiny-half" in run(*study)
    table = (tmp_path / "study/results/tiny.csv").read_text()
    assert table == "run,y\none,2\nhalf,5.0\nword,bytebyte\nas-it-is,14\n"
    assert "tiny-half" not in run(*study), "what ended is not run again"


def test_an_unknown_set_is_refused() -> None:
    assert "invalid choice: 'nothing'" in refusal("study", "nothing")
