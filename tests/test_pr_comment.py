"""The pull request's comment, on two real commits of a scratch repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from reliability.project import IDENTITY

PNG = b"\x89PNG one"


class Repository:
    """Params, metrics and a plot, tracked by git and known to DVC."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self.run("git", "init", "--quiet", "--initial-branch", "main")
        self.run(sys.executable, "-m", "dvc", "init", "--quiet")
        self.write("dvc.yaml", "metrics:\n- metrics.json\nparams:\n- params.yaml\n")
        self.write("params.yaml", "freeze: 10\nseed: 0\n")
        self.write("metrics.json", '{"accuracy": 0.5, "loss": 1.0}')
        self.write("plots/a.png", PNG)
        self.write(
            "report/report.md", "# Title\n\nAnswer.\n\n## Comparison\n\n|a|\n\n## Rest\n\nno\n"
        )
        self.commit()

    def run(self, *command: str, code: int = 0) -> str:
        environment = {**os.environ, **IDENTITY, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == code, ended.stdout + ended.stderr
        return ended.stdout + ended.stderr

    def write(self, name: str, content: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", "change")

    def comment(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "tools.pr_comment", *arguments, code=code)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "scratch")


def cells(markdown: str, name: str) -> list[str]:
    """Return the first four cells of a table's row."""
    row = next(line for line in markdown.splitlines() if f"| {name} " in line)
    return [cell.strip() for cell in row.split("|")[1:5]]


def test_what_changed_is_shown(repository: Repository) -> None:
    repository.run("git", "switch", "--quiet", "--create", "change")
    repository.write("params.yaml", "freeze: 20\nseed: 0\n")
    repository.write("metrics.json", '{"accuracy": 0.625, "brier": 0.1}')
    repository.write("plots/a.png", PNG + b"!")
    repository.write("plots/new.png", PNG)
    repository.commit()
    text = repository.comment("main", "--images", "https://example.org/x/")
    assert text.startswith("<!-- thaw: what this changes -->\n")
    changes = text.split("<details>")[0]
    assert cells(changes, "freeze") == ["params.yaml", "freeze", "10", "20"]
    assert "seed" not in changes
    assert "0.125" in changes
    assert "brier" in changes, "a new metric"
    assert "loss" in changes, "a metric that is gone"
    assert "![plots/a.png](https://example.org/x/plots/a.png)" in text
    assert "![plots/new.png](https://example.org/x/plots/new.png)" in text
    assert "### Title" in text
    assert "#### Comparison" in text
    assert "Rest" not in text


def test_nothing_changed(repository: Repository) -> None:
    text = repository.comment("main")
    assert "No param changed." in text
    assert "No metric changed." in text
    assert "No plot changed." in text
    assert cells(text, "accuracy") == ["metrics.json", "accuracy", "0.5", "0.5"], "all, below"


def test_a_plot_that_is_gone_is_named(repository: Repository) -> None:
    (repository.root / "plots/a.png").unlink()
    assert "Gone: plots/a.png" in repository.comment("main")


def test_a_base_without_metrics(repository: Repository) -> None:
    repository.run("git", "switch", "--quiet", "--orphan", "empty")
    repository.run("git", "commit", "--quiet", "--allow-empty", "--message", "nothing")
    repository.run("git", "switch", "--quiet", "main")
    text = repository.comment("empty")
    assert "accuracy" in text
    assert "0.5" in text


def test_an_unknown_base(repository: Repository) -> None:
    said = repository.comment("nowhere", code=1)
    assert "Received: nowhere" in said
    assert "Traceback" not in said


def test_a_shallow_clone_is_told_apart(repository: Repository, tmp_path: Path) -> None:
    repository.run("git", "switch", "--quiet", "--create", "change")
    repository.write("params.yaml", "freeze: 20\nseed: 0\n")
    repository.commit()
    source = repository.root.as_uri()
    repository.run("git", "clone", "--quiet", "--depth", "1", source, str(tmp_path / "clone"))
    repository.root = tmp_path / "clone"
    said = repository.comment("main", code=1)
    assert "shallow" in said
    assert "fetch-depth: 0" in said


def test_without_a_report(repository: Repository) -> None:
    (repository.root / "report/report.md").unlink()
    assert "There is no report" in repository.comment("main")
