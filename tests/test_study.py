"""Sets of experiments: what they ask exists, and what they give becomes a table."""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, read_entries, refusal

from tests.reliability.project import Project
from thaw.config.params import Params
from tools import dvc_queue
from tools.commands import git
from tools.study.__main__ import Set, check_committed, load_sets, table

SETS = load_sets()


@pytest.mark.parametrize("name", SETS)
def test_every_experiment_has_valid_params(name: str) -> None:
    chosen = SETS[name]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert str(Path(chosen.summary).parent) in stages[chosen.stage]["outs"]
    for run in chosen.runs:
        entries = read_entries()
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
    fields = {"question": "?", "stage": "s", "summary": "m", "keep": ["a*"], "common": {}}
    return Set.model_validate(fields | {"runs": {"one": {"x": 1}}} | changes)


def test_overrides_as_dvc_takes_them() -> None:
    some = chosen(common={"head.units": [128, 64], "x": 0}, runs={"one": {"x": "0-255", "y": 0.5}})
    assert some.overrides("one") == ["head.units=[128,64]", "x=0-255", "y=0.5"]


def test_a_row_holds_what_is_kept() -> None:
    assert list(table(chosen(), {"b": 1, "a2": 2, "a1": 3})) == [{"a2": 2, "a1": 3}]


def test_nested_entries_give_rows() -> None:
    one, other = {"a_loss": 0.5, "b": 1}, {"a_loss": 0.4, "b": 2}
    summary = {"a": 7, "cells": {"10": {"x": one, "y": other}}}
    assert list(table(chosen(rows=["cells", "freeze", "kind"]), summary)) == [
        {"freeze": "10", "kind": "x", "a_loss": 0.5},
        {"freeze": "10", "kind": "y", "a_loss": 0.4},
    ]


def test_uncommitted_changes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path, lock = tmp_path / "params.yaml", tmp_path / "dvc.lock"
    path.write_text("freeze: 10")
    lock.write_text("one")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "-m", "x")):
        git(*command)
    lock.write_text("as another processor has it")
    check_committed()
    path.write_text("freeze: 20")
    with pytest.raises(SystemExit, match=r"M params\.yaml\nCommit them"):
        check_committed()


TINY_SET = """tiny:
  question: What is twice x?
  stage: double
  summary: results/summary.json
  keep: ['y']
  common: {b.c: [1, 2]}
  runs: {one: {x: 1}, half: {x: 2.5}, word: {x: byte}, as-it-is: {}}
"""
TINY_PIPELINE = """stages:
  double:
    cmd: python double.py
    deps: [double.py]
    params: [x, b]
    outs: [results]
"""
TINY_STAGE = """import json, os, time, yaml
while os.path.exists(os.environ.get("HOLD", "")):
    time.sleep(0.1)
params = yaml.safe_load(open("params.yaml"))
os.makedirs("results", exist_ok=True)
summary = {"y": params["x"] * 2, "sum": sum(params["b"]["c"])}
json.dump(summary, open("results/summary.json", "w"))
"""


STUDY = (sys.executable, "-m", "tools.study", "tiny")
TINY_ROWS = ("one,2", "half,5.0", "word,bytebyte", "as-it-is,14")


def tiny_table(tiny: Project) -> str:
    """The whole set's table: what was kept, then seed, threads and commit."""
    commit = tiny.run("git", "rev-parse", "HEAD")[:10]
    return "run,y,seed,threads,commit\n" + "".join(f"{row},3,1,{commit}\n" for row in TINY_ROWS)


@pytest.fixture
def tiny(tmp_path: Path) -> Project:
    """Return a project whose stage takes no time, with a set of four experiments."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("*.csv"))
    files = {"tools/study/sets.yaml": TINY_SET, "dvc.yaml": TINY_PIPELINE, "double.py": TINY_STAGE}
    files |= {
        "params.yaml": "seed: 3\nthreads: 1\nx: 7\nb:\n  c:\n  - 0\n",
        ".gitignore": "__pycache__\n/hold\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    project = Project(tmp_path)
    project.run("git", "init", "--quiet")
    project.dvc("init", "--quiet")
    project.reproduce()
    return project


@pytest.mark.slow
def test_a_set_is_run_by_dvcs_queue_once_and_collected(tiny: Project) -> None:
    here = {"PYTHONPATH": str(ROOT)}
    said = tiny.run(*STUDY, changes=here)
    assert "4 of 4" in said
    assert "tiny-half" in said
    assert (tiny.root / "tools/study/results/tiny.csv").read_text() == tiny_table(tiny)
    assert "tiny-half" not in tiny.run(*STUDY, changes=here), "what ended is not run again"
    shutil.rmtree(tiny.root / ".dvc/cache/files")
    said = tiny.run(*STUDY, "--collect", changes=here, code=1)
    assert re.search(r"error: results/summary.json of refs/exps/\S+/tiny-one cannot be read", said)
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.long
def test_a_set_goes_on_after_its_workers_were_killed(tiny: Project) -> None:
    hold = tiny.root / "hold"
    hold.touch()
    here = {"PYTHONPATH": str(ROOT), "HOLD": str(hold)}
    with ThreadPoolExecutor() as pool:
        cut = pool.submit(tiny.run, *STUDY, changes=here, code=1)
        wait_for(lambda: len(dvc_queue.look(tiny.root).names("Running")) == 2)
        for path in (tiny.root / ".dvc/tmp/exps/celery").glob("*.pid"):
            os.kill(int(path.read_text()), signal.SIGKILL)
        assert "did not end: one, half, word, as-it-is" in cut.result()
    hold.unlink()
    assert "4 of 4" in tiny.run(*STUDY, changes=here)
    assert (tiny.root / "tools/study/results/tiny.csv").read_text() == tiny_table(tiny)


def wait_for(condition: Callable[[], bool], seconds: int = 120) -> None:
    """Return when a condition holds; fail after a while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


def test_an_unknown_set_is_refused() -> None:
    assert "invalid choice: 'nothing'" in refusal("tools.study", "nothing")
