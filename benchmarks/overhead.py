"""Find out what an idle `dvc repro` spends its time on: python -m benchmarks.overhead.

Writes  benchmarks/overhead.md

It compares pipelines that have as many stages as thaw's, but whose commands do next to nothing:
first empty stages, then thaw's stages with some of their entries in dvc.yaml. Each pipeline has its
own folder. They run in turn, `ROUNDS` times, and every second round in reverse order. The results
are the median time, and the median of the ratios to the empty stages in the same round.
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
"""A stage as dvc.yaml describes it."""


def timed_repro(root: Path) -> float:
    """Return the seconds that `dvc repro` takes in `root`."""
    begin = time.perf_counter()
    dvc("repro", "--quiet", root=root)
    return time.perf_counter() - begin


def own_stages() -> dict[str, Stage]:
    """Return thaw's stages from dvc.yaml, by name."""
    stages: dict[str, Stage] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    return stages


def empty_stages() -> dict[str, Stage]:
    """Return as many stages as thaw has, each with one dep and one out."""
    return {
        f"s{i}": {"cmd": f"echo {i} > {i}", "deps": ["input"], "outs": [str(i)]}
        for i in range(len(own_stages()))
    }


def outs(stage: Stage) -> list[str]:
    """Return the paths of a stage's outs, metrics and plots."""
    found = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return [out if isinstance(out, str) else next(iter(out)) for out in found]


def idle(stage: Stage) -> Stage:
    """Return the same stage with a command that writes a file of a few bytes for each out."""
    lines = [f"mkdir -p {Path(out).parent} && echo {out} > {out}" for out in outs(stage)]
    return stage | {"cmd": lines}


def without_packages(stage: Stage) -> Stage:
    """Return the same stage without its deps on packages of thaw."""
    return stage | {"deps": [dep for dep in stage["deps"] if not dep.startswith("thaw/")]}


def without_params(stage: Stage) -> Stage:
    """Return the same stage without its params."""
    return {key: value for key, value in stage.items() if key != "params"}


def on_the_folder(stage: Stage) -> Stage:
    """Return the same stage with one dep on all of thaw/ instead of those on packages."""
    return stage | {"deps": [*without_packages(stage)["deps"], "thaw"]}


def each(*changes: Callable[[Stage], Stage]) -> dict[str, Stage]:
    """Return thaw's stages after applying the changes to each, one after another."""
    stages = own_stages()
    for change in changes:
        stages = {name: change(stage) for name, stage in stages.items()}
    return stages


def pipelines() -> dict[str, dict[str, Stage]]:
    """Return the pipelines to compare, by their name in the table; the empty one comes first."""
    return {
        "empty ones": empty_stages(),
        "thaw's, without params and deps on packages": each(idle, without_params, without_packages),
        "with their params": each(idle, without_packages),
        "with deps on packages": each(idle, without_params),
        "with both": each(idle),
        "with params and one dep on all of `thaw/`": each(idle, on_the_folder),
    }


def build(root: Path, stages: dict[str, Stage]) -> None:
    """Make a DVC project of `stages` in an empty folder, and run it once.

    The project has thaw's files and DVC settings, except for `empty_stages`, which has only what
    `dvc init` makes.
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
    """Measure all pipelines, and write the table."""
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        folders = {what: Path(name, str(i)) for i, what in enumerate(pipelines())}
        for what, stages in pipelines().items():
            folders[what].mkdir()
            build(folders[what], stages)
        for i in range(ROUNDS):
            # Both directions, so that a slow drift of the machine affects all alike.
            order = list(folders)[:: -1 if i % 2 else 1]
            rounds.append({what: timed_repro(folders[what]) for what in order})
    table = markdown(rounds)
    print(table)
    (ROOT / "benchmarks/overhead.md").write_text(table)


def markdown(rounds: list[dict[str, float]]) -> str:
    """Return the table of medians, from the seconds of each pipeline in each round."""
    empty = next(iter(rounds[0]))
    lines = ["| stages | `dvc repro` | times the empty ones |", "|---|---|---|"]
    for what in rounds[0]:
        seconds = median(took[what] for took in rounds)
        ratio = median(took[what] / took[empty] for took in rounds)
        lines.append(f"| {what} | {seconds:.2f} s | {ratio:.2f} |")
    return "\n".join([*lines, "", f"{len(rounds)} rounds; medians. {machine()}", ""])


if __name__ == "__main__":
    main()
