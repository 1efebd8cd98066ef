"""What an idle `dvc repro` spends its time on: python -m benchmarks.overhead.

Writes  benchmarks/overhead.md

Pipelines of as many stages as thaw's, whose commands do next to nothing, in folders of their own:
empty ones, then thaw's own stages with part of what dvc.yaml says about them. All in turn, `ROUNDS`
times, there and back; the median of the seconds, and of the ratio to the empty ones' of that round.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.apart import ROOT, machine
from tests.reliability.project import Project, copy_files
from tools.commands import dvc

ROUNDS = 20
Stage = dict[str, Any]
"""One of dvc.yaml's."""


def timed_repro(root: Path) -> float:
    """Return the seconds that `dvc repro` takes."""
    begin = time.perf_counter()
    dvc("repro", "--quiet", root=root)
    return time.perf_counter() - begin


def own_stages() -> dict[str, Stage]:
    """Return thaw's stages, as dvc.yaml has them."""
    stages: dict[str, Stage] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


def empty_stages() -> dict[str, Stage]:
    """Return as many as thaw's, each with one dep and one out."""
    return {
        f"s{i}": {"cmd": f"echo {i} > {i}", "deps": ["input"], "outs": [str(i)]}
        for i in range(len(own_stages()))
    }


def outs(stage: Stage) -> list[str]:
    """Return the paths that a stage writes."""
    found = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in found]


def idle(stage: Stage) -> Stage:
    """Return the same stage with a command that writes a file of a few bytes for each out."""
    lines = [f"mkdir -p {Path(out).parent} && echo {out} > {out}" for out in outs(stage)]
    return stage | {"cmd": lines}


def without_modules(stage: Stage) -> Stage:
    """Return the same stage without its deps on thaw's modules."""
    return stage | {"deps": [dep for dep in stage["deps"] if not dep.startswith("thaw/")]}


def without_params(stage: Stage) -> Stage:
    """Return the same stage without its params."""
    return {key: value for key, value in stage.items() if key != "params"}


def on_the_folder(stage: Stage) -> Stage:
    """Return the same stage with one dep on all of thaw/ for those on modules."""
    return stage | {"deps": [*without_modules(stage)["deps"], "thaw"]}


def each(*changes: Callable[[Stage], Stage]) -> dict[str, Stage]:
    """Return thaw's stages, changed one after another."""
    stages = own_stages()
    for change in changes:
        stages = {name: change(stage) for name, stage in stages.items()}
    return stages


def pipelines() -> dict[str, dict[str, Stage]]:
    """Return what is compared, by what the table calls it; the empty one first."""
    return {
        "empty ones": empty_stages(),
        "thaw's, without params and deps on modules": each(idle, without_params, without_modules),
        "with their params": each(idle, without_modules),
        "with deps on modules": each(idle, without_params),
        "with both": each(idle),
        "with params and one dep on all of `thaw/`": each(idle, on_the_folder),
    }


def build(root: Path, stages: dict[str, Stage]) -> None:
    """Make a DVC project of `stages` in an empty folder, and run it once.

    It has thaw's files and settings, or for `empty_stages` those that `dvc init` makes.
    """
    project = Project(root)
    if stages == empty_stages():
        (root / "input").touch()
    else:
        copy_files(root)
        (root / "dvc.lock").unlink()
    project.run("git", "init", "--quiet")
    if not (root / ".dvc").exists():
        project.dvc("init", "--quiet")
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    project.dvc("repro", "--quiet")


def main() -> None:
    """Measure; write the table."""
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folders = {what: Path(name, str(i)) for i, what in enumerate(pipelines())}
        for what, stages in pipelines().items():
            folders[what].mkdir()
            build(folders[what], stages)
        for i in range(ROUNDS):
            order = list(folders)[:: -1 if i % 2 else 1]
            rounds.append({what: timed_repro(folders[what]) for what in order})
    table = markdown(rounds)
    print(table)
    (ROOT / "benchmarks/overhead.md").write_text(table)


def markdown(rounds: list[dict[str, float]]) -> str:
    """Return the table of the seconds that each pipeline took in each round."""
    empty = next(iter(rounds[0]))
    lines = ["| stages | `dvc repro` | times the empty ones |", "|---|---|---|"]
    for what in rounds[0]:
        seconds = median(took[what] for took in rounds)
        ratio = median(took[what] / took[empty] for took in rounds)
        lines.append(f"| {what} | {seconds:.2f} s | {ratio:.2f} |")
    return "\n".join([*lines, "", f"{len(rounds)} rounds; medians. {machine()}", ""])


if __name__ == "__main__":
    main()
