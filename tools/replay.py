"""Measure how many more stages run if they depend on packages: python -m tools.replay.

Stages used to depend on single modules and now depend on whole packages. This tool goes through the
last commits to thaw/ or stages/ from before thaw had packages. For each commit it counts the stages
that run again because of the changed files. It counts twice: with the modules in that commit's
dvc.yaml, and with each module replaced by the package that holds it today. Neither count includes
stages that run only because an earlier stage gave different bytes.
"""

import argparse
from collections.abc import Mapping
from pathlib import PurePosixPath

import yaml

from tools.commands import git

CODE = ("thaw", "stages")
FIRST_PACKAGE = "thaw/support/__init__.py"
"""A file that was added by the commit that moved the flat modules into packages."""


def split_commit() -> str:
    """Return the commit that moved the modules into packages."""
    # git lists the newest commit first, and the file may have been added again later.
    return git("log", "--diff-filter=A", "--format=%H", "--", FIRST_PACKAGE).splitlines()[-1]


def packages(split: str) -> dict[str, str]:
    """Return today's package of each module, such as thaw/data, by the module's flat path."""
    only_renames = ("-M", "--diff-filter=R", "--name-status")
    renames = git("diff", *only_renames, f"{split}~1", "HEAD", "--", "thaw")
    moved = [line.split("\t")[1:] for line in renames.splitlines()]
    return {old: "/".join(PurePosixPath(new).parts[:2]) for old, new in moved}


def dependencies(commit: str) -> dict[str, list[str]]:
    """Return the dependencies of each stage in a commit's dvc.yaml."""
    stages = yaml.safe_load(git("show", f"{commit}:dvc.yaml"))["stages"]
    return {name: stage.get("deps", []) for name, stage in stages.items()}


def runs(changed: set[str], stages: Mapping[str, list[str]]) -> set[str]:
    """Return the stages that depend on a changed file or on a folder that contains one."""
    places = changed | {str(parent) for path in changed for parent in PurePosixPath(path).parents}
    return {name for name, deps in stages.items() if places & set(deps)}


def compare(commit: str, package: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return the stages that a commit makes run again: with modules, and with packages as deps."""
    changed = set(git("diff-tree", "--no-commit-id", "--name-only", "-r", commit).splitlines())
    by_module = dependencies(commit)
    by_package = {
        name: [package.get(path, path) for path in deps] for name, deps in by_module.items()
    }
    return runs(changed, by_module), runs({package.get(path, path) for path in changed}, by_package)


def main() -> None:
    """Print a table with a row for each commit, and the totals."""
    parser = argparse.ArgumentParser(prog="python -m tools.replay", description=__doc__)
    parser.add_argument("--commits", type=int, default=21, help="how many (default: 21)")
    options = parser.parse_args()
    split = split_commit()
    package = packages(split)
    order = ("--no-merges", f"--max-count={options.commits}", "--format=%h %s", f"{split}~1")
    totals = [0, 0]
    print("| Commit | by module | by package |\n|---|---|---|")
    for line in git("log", *order, "--", *CODE).splitlines():
        commit, subject = line.split(" ", 1)
        counts = [len(stages) for stages in compare(commit, package)]
        totals = [total + count for total, count in zip(totals, counts, strict=True)]
        print(f"| {commit} {subject} | {counts[0]} | {counts[1]} |")
    print(f"| all {options.commits} | {totals[0]} | {totals[1]} |")


if __name__ == "__main__":
    main()
