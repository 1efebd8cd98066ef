"""Run a set of experiments and write its table: python -m tools.study SET [--jobs N] [--collect].

Reads   tools/study/sets.yaml  the sets and their experiments
        the summary that each experiment wrote, from DVC's cache
Writes  tools/study/results/SET.csv  what the set keeps of it

Each experiment is queued under the name `SET-RUN`, and DVC runs it from HEAD. `dvc exp show` lists
it. If the tool is stopped and started again, it does not repeat the experiments that have ended.
Stages that an earlier commit has already computed come from DVC's cache.
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

import dvc.api
from dvc.exceptions import DvcException
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
"""The files that may differ from HEAD when a set is run."""
COMMIT_DIGITS = 10
SECONDS_BETWEEN_LOOKS = 20
"""How often DVC's queue is read. Each reading takes a second of a core."""


class Set(BaseModel):
    """One question and the experiments that answer it.

    Attributes:
        question: the question, which is printed above the table.
        stage: the stage of dvc.yaml that every experiment runs.
        summary: the stage's JSON file that the table is made from.
        keep: patterns, as for fnmatch, of its entries that become columns.
        rows: see below.
        common: what all experiments change in params.yaml, by path.
        runs: what each experiment changes besides, by its name.

    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str
    stage: str
    summary: str
    keep: tuple[str, ...]
    rows: tuple[str, ...] = ()
    """Only for summaries that give several rows for each run: the name of the entry with the rows,
    followed by a column name for each level of nesting, the outermost first. `keep` then selects
    among the entries of a row."""
    common: Overrides
    runs: dict[str, Overrides] = Field(min_length=1)

    def overrides(self, run: str) -> list[str]:
        """Return what a run changes in params.yaml, in the form of `dvc exp run -S`."""
        changed = self.common | self.runs[run]
        return [f"{path}={_text(value)}" for path, value in changed.items()]


def _text(value: object) -> str:
    # DVC parses these values by Hydra's grammar, which reads JSON's numbers, booleans and lists.
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def load_sets() -> dict[str, Set]:
    """Return the sets in sets.yaml, by name."""
    entries = read_yaml(HERE / "sets.yaml")
    return {name: Set.model_validate(entry) for name, entry in entries.items()}


def finished(name: str, chosen: Set) -> dict[str, str]:
    """Return the git reference of each run from HEAD that has ended, by the run's name."""
    head = git("rev-parse", "HEAD")
    # DVC files experiments under the digest of their commit, split after two digits.
    prefix = f"refs/exps/{head[:2]}/{head[2:]}/{name}-"
    references = git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    return {run: prefix + run for run in chosen.runs if prefix + run in references}


def check_committed() -> None:
    """End the process if the working tree differs from HEAD, the commit of the experiments.

    Only `RESULTS` may differ, because they do so on another processor and after a set was run.
    """
    code = (f":!{path}" for path in RESULTS)
    if changed := git("status", "--porcelain", "--untracked-files=no", "--", *code):
        sys.exit(
            "error: experiments are recorded under the commit that they run from, but these files "
            f"differ from it:\n{changed}\nCommit them, or set them aside with `git stash`."
        )


def check_folder() -> None:
    """End the process if DVC's queue does not work in this folder; DVC itself does not say so."""
    if characters := unfit(Path.cwd()):
        sys.exit(f"error: {explain(Path.cwd(), characters)}")


def run(name: str, chosen: Set, jobs: int) -> None:
    """Queue the runs that have not ended yet, and wait until the queue has finished them."""
    if missing := [run for run in chosen.runs if run not in finished(name, chosen)]:
        enqueue(name, chosen, missing)
        try:
            show_dvc("queue", "start", "--jobs", str(jobs))
            follow(name, chosen)
        except KeyboardInterrupt:
            # The workers are processes of their own and would go on without this one.
            show_dvc("queue", "stop", "--kill")
            sys.exit(f"stopped. Run `python -m tools.study {name}` again to continue.")
    if lost := [run for run in chosen.runs if run not in finished(name, chosen)]:
        sys.exit(
            f"error: these experiments did not end: {', '.join(lost)}. `dvc queue logs "
            f"{name}-{lost[0]}` says why. Run `python -m tools.study {name}` again to continue."
        )


def enqueue(name: str, chosen: Set, missing: list[str]) -> None:
    """Queue the missing runs, except those that wait or run in a queue with a live worker."""
    queue = dvc_queue.look()
    for run in missing:
        queued = f"{name}-{run}"
        if queued in queue.pending:
            if queue.workers:
                continue
            # A killed worker or a stopped study left this task behind, and nobody works on it. DVC
            # reports an error when it is told to kill a task that is not running. That error does
            # not matter, as long as the task can be removed afterwards.
            both = [outcome(*DVC, "queue", leave, queued) for leave in ("kill", "remove")]
            if both[-1].returncode:
                end(*both)
        changes = [part for change in chosen.overrides(run) for part in ("-S", change)]
        show_dvc("exp", "run", "--queue", "--name", queued, *changes, chosen.stage)


def follow(name: str, chosen: Set) -> None:
    """Print each experiment that ends, until all have ended or no worker is left.

    `dvc exp run --run-all` would not do: if a worker was killed earlier, it waits for it for ever.
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
            if idle == 2:  # a single reading may fall between two experiments
                return
        time.sleep(1)


def collect(name: str, chosen: Set) -> Path:
    """Write the table of a set's ended experiments and return its path."""
    rows = [
        {"run": run, **row, **origin(reference)}
        for run, reference in finished(name, chosen).items()
        for row in table(chosen, json.loads(read(chosen.summary, reference)))
    ]
    if not rows:
        sys.exit(f"error: no experiment of {name} has ended at this commit. Run the set first.")
    columns = list(rows[0])
    path = HERE / "results" / f"{name}.csv"
    write_csv(path, columns, [[row[column] for column in columns] for row in rows])
    return path


def read(path: str, reference: str) -> str:
    """Return what an experiment wrote to `path`, given its git reference."""
    try:
        content: str = dvc.api.read(path, rev=reference)
    except (OSError, DvcException) as error:
        sys.exit(f"error: {path} of {reference} cannot be read from DVC's cache: {error}")
    return content


def origin(reference: str) -> dict[str, Any]:
    """Return the seed, the threads and the commit of an experiment, given its git reference."""
    name = f"{reference}:./params.yaml"
    params = parse_yaml(git("show", name), name)
    commit = reference.removeprefix("refs/exps/").replace("/", "", 1)[:COMMIT_DIGITS]
    return {"seed": params["seed"], "threads": params["threads"], "commit": commit}


def table(chosen: Set, summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one run's summary: a single one, or those nested in it (see `Set.rows`)."""
    name, *levels = chosen.rows or ("",)
    for place, values in leaves(summary[name] if name else summary, levels):
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
    """Yield every combination of keys along `levels`, by the levels' names, and its entry."""
    if not levels:
        yield {}, nested
        return
    for name, inner in nested.items():
        for place, values in leaves(inner, levels[1:]):
            yield {levels[0]: name} | place, values


def main() -> None:
    """Run one set and write its table."""
    sets = load_sets()
    parser = argparse.ArgumentParser(prog="python -m tools.study")
    parser.add_argument("set", choices=sets, metavar="SET", help=", ".join(sets))
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time (default: 2)")
    parser.add_argument("--collect", action="store_true", help="only write the table")
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
