"""Run a set of experiments and keep its table: python -m tools.study SET [--jobs N] [--collect].

Reads   tools/study/sets.yaml  which experiments there are
Writes  tools/study/results/SET.csv  one line an experiment

Each is queued by its name, `SET-RUN`, and run by DVC from HEAD: `dvc exp show` lists them. Stopped
and started again, those that ended are not run again, and what an earlier commit computed comes
from DVC's cache.
"""

import argparse
import fnmatch
import itertools
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from thaw.support.errors import ThawError
from thaw.support.tables import write_csv
from thaw.support.yaml_file import parse_yaml, read_yaml
from tools import dvc_queue
from tools.commands import DVC, end, git, outcome, show_dvc
from tools.folder import explain, unfit

HERE = Path(__file__).parent
Overrides = dict[str, Any]
RESULTS = ("dvc.lock", "metrics", "plots", "report", "tools/study/results")
COMMIT_DIGITS = 10
SECONDS_BETWEEN_LOOKS = 20
"""At DVC's queue, each of which takes a second of a core."""


class Set(BaseModel):
    """One question, and the experiments that answer it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    stage: str
    metrics: str
    keep: tuple[str, ...]
    rows: tuple[str, ...] = ()
    """Where one run gives several rows: the metric that they are nested in, then what each level
    tells apart, from the outermost. `keep` is then about what a row holds."""
    common: Overrides
    runs: dict[str, Overrides] = Field(min_length=1)

    def overrides(self, run: str) -> list[str]:
        """Return what a run changes in params.yaml, as DVC takes it."""
        changed = self.common | self.runs[run]
        return [f"{path}={_text(value)}" for path, value in changed.items()]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def load_sets() -> dict[str, Set]:
    """Return the sets of sets.yaml by name."""
    entries = read_yaml(HERE / "sets.yaml")
    return {name: Set.model_validate(entry) for name, entry in entries.items()}


def finished(name: str, chosen: Set) -> dict[str, str]:
    """Return the git reference of each run that ended, from the commit that is checked out."""
    head = git("rev-parse", "HEAD")
    prefix = f"refs/exps/{head[:2]}/{head[2:]}/{name}-"
    references = git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    return {run: prefix + run for run in chosen.runs if prefix + run in references}


def check_committed() -> None:
    """End the process where the working tree is not what experiments would be known by: HEAD.

    Results may differ: they do on another processor, and after a set.
    """
    code = (f":!{path}" for path in RESULTS)
    if changed := git("status", "--porcelain", "--untracked-files=no", "--", *code):
        sys.exit(
            "error: experiments are known by the commit that they come from. Not in it are:\n"
            f"{changed}\nCommit it, or put it aside with git stash."
        )


def check_folder() -> None:
    """End the process where DVC's queue does not work, which it would not say."""
    if characters := unfit(Path.cwd()):
        sys.exit(f"error: {explain(Path.cwd(), characters)}")


def run(name: str, chosen: Set, jobs: int) -> None:
    """Queue what has not ended yet, and run the queue to its end."""
    if missing := [run for run in chosen.runs if run not in finished(name, chosen)]:
        enqueue(name, chosen, missing)
        try:
            show_dvc("queue", "start", "--jobs", str(jobs))
            follow(name, chosen)
        except KeyboardInterrupt:
            show_dvc("queue", "stop", "--kill")  # or the workers would go on by themselves
            sys.exit("stopped; run it again to go on")
    if lost := [run for run in chosen.runs if run not in finished(name, chosen)]:
        sys.exit(
            f"error: these experiments did not end: {', '.join(lost)}. `dvc queue logs "
            f"{name}-{lost[0]}` says why. Run `python -m tools.study {name}` again to go on."
        )


def enqueue(name: str, chosen: Set, missing: list[str]) -> None:
    """Queue runs, but for those that live workers of a stopped study still have before them."""
    queue = dvc_queue.look()
    for run in missing:
        queued = f"{name}-{run}"
        if queued in queue.pending:
            if queue.workers:
                continue
            # For nobody: what a killed worker, or a stopped run, left. What does not run cannot
            # be killed, which DVC calls an error: no matter, if only it can be removed then.
            both = [outcome(*DVC, "queue", leave, queued) for leave in ("kill", "remove")]
            if both[-1].returncode:
                end(*both)
        changes = [part for change in chosen.overrides(run) for part in ("-S", change)]
        show_dvc("exp", "run", "--queue", "--name", queued, *changes, chosen.stage)


def follow(name: str, chosen: Set) -> None:
    """Say which experiment has ended, until all have or nobody works on them any more.

    Not `dvc exp run --run-all`: where a worker was killed before, that waits for ever for it.
    """
    shown: set[str] = set()
    idle = 0
    for second in itertools.count(1):
        ended = finished(name, chosen)
        for run in ended.keys() - shown:
            shown.add(run)
            print(f"{len(shown)} of {len(chosen.runs)}: {name}-{run}", flush=True)
        if len(ended) == len(chosen.runs):
            return
        if second % SECONDS_BETWEEN_LOOKS == 0:
            queue = dvc_queue.look()
            busy = queue.workers and any(f"{name}-{run}" in queue.pending for run in chosen.runs)
            idle = 0 if busy else idle + 1
            if idle == 2:  # one look may fall between two experiments
                return
        time.sleep(1)


def collect(name: str, chosen: Set) -> Path:
    """Write a set's table."""
    rows = [
        {"run": run, **row, **origin(reference)}
        for run, reference in finished(name, chosen).items()
        for row in table(chosen, json.loads(git("show", f"{reference}:./{chosen.metrics}")))
    ]
    if not rows:
        sys.exit(f"error: no experiment of {name} has ended at this commit: run the set first.")
    columns = list(rows[0])
    path = HERE / "results" / f"{name}.csv"
    write_csv(path, columns, [[row[column] for column in columns] for row in rows])
    return path


def origin(reference: str) -> dict[str, Any]:
    """Return what, besides the set, an experiment's numbers depend on."""
    name = f"{reference}:./params.yaml"
    params = parse_yaml(git("show", name), name)
    commit = reference.removeprefix("refs/exps/").replace("/", "", 1)[:COMMIT_DIGITS]
    return {"seed": params["seed"], "threads": params["threads"], "commit": commit}


def table(chosen: Set, metrics: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows that one run's metrics make: one, or those that are nested in them."""
    name, *levels = chosen.rows or ("",)
    for place, values in leaves(metrics[name] if name else metrics, levels):
        kept = {
            name: value
            for pattern in chosen.keep
            for name, value in values.items()
            if fnmatch.fnmatch(name, pattern)
        }
        yield place | kept


def leaves(
    nested: Mapping[str, Any], levels: Sequence[str]
) -> Iterator[tuple[dict[str, str], Mapping[str, Any]]]:
    """Yield each place below all levels, by their names, and what is there."""
    if not levels:
        yield {}, nested
        return
    for name, inner in nested.items():
        for place, values in leaves(inner, levels[1:]):
            yield {levels[0]: name} | place, values


def main() -> None:
    """Run one set, and write its table."""
    sets = load_sets()
    parser = argparse.ArgumentParser(prog="python -m tools.study")
    parser.add_argument("set", choices=sets, metavar="SET", help=", ".join(sets))
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time (default: 2)")
    parser.add_argument("--collect", action="store_true", help="run nothing, write the table")
    options = parser.parse_args()
    chosen = sets[options.set]
    if not options.collect:
        check_folder()
        check_committed()
        run(options.set, chosen, options.jobs)
    print(f"{chosen.question}\n{collect(options.set, chosen)}")


if __name__ == "__main__":
    try:
        main()
    except ThawError as error:
        sys.exit(f"error: {error}")
