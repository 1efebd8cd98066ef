"""The pull request's comment, on two real commits of a scratch repository."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from imports import imported_names

from tests.reliability.project import IDENTITY
from tools.comment import LONGEST, render

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
            "report/report.md",
            "# Title\n\nAnswer.\n\n## Comparison\n\n|a|\n\n"
            "<details>fold</details>\n\n## Rest\n\nno\n",
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
    """Return the cells of a table's row."""
    row = next(line for line in markdown.splitlines() if f"| {name} " in line)
    return [cell.strip() for cell in row.split("|")[1:-1]]


def test_what_changed_is_shown(repository: Repository) -> None:
    repository.run("git", "switch", "--quiet", "--create", "change")
    repository.write("params.yaml", "freeze: 20\nseed: 0\n")
    repository.write("metrics.json", '{"accuracy": 0.625, "brier": 0.1}')
    repository.write("plots/a.png", PNG + b"!")
    repository.write("plots/new.png", PNG)
    repository.commit()
    text = repository.comment("main", "--images", "https://example.org/x/")
    assert text.startswith("<!-- thaw: what this changes -->\n")
    assert cells(text, "freeze") == ["params.yaml", "freeze", "10", "20"]
    assert "seed" not in text
    assert cells(text, "accuracy") == ["metrics.json", "accuracy", "0.5", "0.625", "0.125"]
    assert cells(text, "brier") == ["metrics.json", "brier", "-", "0.1", "-"], "a new metric"
    assert cells(text, "loss") == ["metrics.json", "loss", "1.0", "-", "-"], "one that is gone"
    assert "![plots/a.png](https://example.org/x/plots/a.png)" in text
    assert "![plots/new.png](https://example.org/x/plots/new.png)" in text
    assert "````text\n# Title\n\nAnswer.\n\n## Comparison\n\n|a|\n````" in text
    assert "Rest" not in text


def test_nothing_changed(repository: Repository) -> None:
    text = repository.comment("main")
    assert "No param changed." in text
    assert "No plot changed." in text
    assert cells(text, "accuracy") == ["metrics.json", "accuracy", "0.5", "0.5", "0.0"]


def test_a_plot_that_is_gone_is_named(repository: Repository) -> None:
    (repository.root / "plots/a.png").unlink()
    assert "Gone:\n\n````text\nplots/a.png\n````" in repository.comment("main")


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


HOSTILE = (
    "# Heading\n\n@octocat #1 ![i](https://evil.example/i.png) <img src=x> <!-- -->\n"
    "```\n~~~~~\n`````````\n</details>\n| a | b |\nhttps://evil.example [l](//evil.example) "
    "\x1b[31m \u202e \u200b e\u0301\u0301 :smile: gh-1 owner/repo#2"
)


def outside_fences(markdown: str) -> str:
    """Return what GitHub reads as Markdown, as CommonMark has it: a fence ends at one as long."""
    kept, fence = [], ""
    for line in markdown.splitlines():
        ticks = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if fence:
            if ticks and ticks[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif ticks:
            fence = ticks[1]
        else:
            kept.append(line)
    assert not fence
    return "\n".join(kept)


def test_what_a_fork_writes_is_text(repository: Repository) -> None:
    repository.write("params.yaml", json.dumps({"freeze": HOSTILE, HOSTILE[:30]: 1}))
    repository.write("metrics.json", json.dumps({"accuracy": HOSTILE, HOSTILE: 0.5}))
    repository.write("report/report.md", HOSTILE)
    repository.write("plots/![x](https:evil) @octocat.png", PNG)
    repository.write("plots/a`b\n# c.png", PNG)
    text = render(json.loads(repository.comment("main", "--json")), "https://example.org/")
    read = outside_fences(text)
    for word in ("octocat", "Heading", "evil", "img", "#1", "# c", "smile", "owner"):
        assert word in text
        assert word not in read
    assert read.startswith(
        "<!-- thaw: what this changes -->\n\n> Made from this pull request's own"
    )
    for hidden in ("\x1b", "\u202e", "\u200b", "\u0301"):
        assert hidden not in text
    assert "\\u202e" in text
    assert "image" not in read
    assert "![" not in read


def test_a_comment_is_cut_to_what_github_takes() -> None:
    long = dict.fromkeys(LONGEST, "`\u202e" * 60000) | {"base": "main"}
    paths = [f"plots/{'a' * 80}{i}.png" for i in range(999)]
    text = render(long | {"plots": paths, "gone": paths}, "https://example.org/" + "a" * 180 + "/")
    assert len(text) <= 65_536
    assert text.count("Cut here") >= len(LONGEST)
    assert "`" not in outside_fences(text).replace("`main`", "")
    many = render({"report": "\n".join("x" * 900)})
    assert many.count("\n") < 500


def test_what_is_no_text_is_left_out() -> None:
    odd: dict[str, Any] = {"base": "`@x`", "params": [1], "plots": {"a": 1}, "gone": ["x", 5]}
    text = render(odd | {"report": None, "metrics": 7, "again": "M metrics/a.json"})
    assert "Against" not in text
    assert "No param changed." in text
    assert "Gone:\n\n````text\nx\n````" in text
    assert "different bytes in:\n\n````text\nM metrics/a.json\n````" in text


def test_the_file_that_is_handed_on(tmp_path: Path) -> None:
    (tmp_path / "changes.json").write_text(json.dumps({"params": "| freeze |"}))
    (tmp_path / "again.txt").touch()
    (tmp_path / "link").symlink_to("changes.json")
    (tmp_path / "list").write_text("[]")
    (tmp_path / "no").write_text("[")

    def said(*arguments: str | Path) -> str:
        # -S: without any package, as on the machine that posts it.
        command = ("python3", "-I", "-S", "tools/comment.py", *arguments)
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert "Traceback" not in ended.stderr
        return ended.stdout or ended.stderr

    shown = said(tmp_path / "changes.json", "--again", tmp_path / "again.txt")
    assert "| freeze |" in shown
    assert "gives the committed bytes" in shown
    assert "is not JSON" in said(tmp_path / "no")
    assert "must hold a JSON object" in said(tmp_path / "list")
    assert "is not a regular file" in said(tmp_path / "link")
    assert "must be https" in said(tmp_path / "changes.json", "--images", "javascript:x")


def test_the_comment_needs_pythons_own_library_alone() -> None:
    names = {name.split(".")[0] for name in imported_names(ROOT / "tools/comment.py")}
    assert names <= sys.stdlib_module_names


def test_what_dvc_cannot_read_is_not_said_to_be_gone(repository: Repository) -> None:
    repository.write("dvc.yaml", "stages: {a: {cmd: x, metrics: [metrics.json], params: [freeze]}}")
    for name, content, said in (
        ("metrics.json", '{"accuracy": ', "failed to load"),
        ("params.yaml", "freeze: 1\nfreeze: 2\n", "params.yaml', YAML file structure is corrupted"),
        ("dvc.lock", "schema: [", "dvc.lock', YAML file structure is corrupted"),
    ):
        repository.write(name, content)
        text = repository.comment("main", code=1)
        assert said in text
        assert re.search(r"error: dvc (params|metrics) diff main --md", text)
        assert "Traceback" not in text


WORKFLOWS = {path.stem: path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_give_no_text_of_a_fork_to_a_shell(name: str) -> None:
    jobs = yaml.safe_load(WORKFLOWS[name])["jobs"]
    for step in (step for job in jobs.values() for step in job["steps"]):
        assert "${{" not in step.get("run", "")
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", "a@" + "0" * 40))
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


def test_what_may_write_takes_the_forks_text_through_the_projects_own_code() -> None:
    workflow = yaml.safe_load(WORKFLOWS["comment"])
    assert workflow["permissions"] == {
        "actions": "read",
        "contents": "read",
        "pull-requests": "write",
    }
    checkout, download, post = workflow["jobs"]["comment"]["steps"]
    assert checkout["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert download["with"]["path"].startswith("${{ runner.temp }}/")
    assert post["run"].count("$from/") == 2, "both for tools.comment, and nobody else"
    assert "pull-requests: write" not in WORKFLOWS["pull-request"]
    assert "pull_request_target" not in "".join(WORKFLOWS.values())
