"""Print the three modes and the experiments so far as tables: python -m tools.compare."""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from thaw.config.params import Params
from thaw.report.results import MODES
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.nested import flat
from thaw.support.tables import read_json
from tools.commands import dvc, git
from tools.pr_comment import shown

MOST = 20
"""How many experiments are shown at most, and how many commits besides HEAD are searched."""
MEASURED = "success"
"""DVC's name for the state of an experiment that has ended and has metrics."""
REFERENCE = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/")
QUEUED = re.compile(r"dvc-exp:[0-9a-f]+:([0-9a-f]{40}):")
"""How DVC names the starting commit in git: REFERENCE for experiments that have ended, QUEUED for
those that wait or have failed."""


@dataclass(frozen=True)
class Experiment:
    """One of DVC's experiments.

    Attributes:
        name: the experiment's name, or the first digits of its revision if it has none.
        commit: the commit it was started from, as a branch or as its first digits.
        state: queued, running, failed or success.
        params: thaw's own params by path. Other entries of params.yaml are left out.
        accuracies: the test accuracies by mode. Empty unless the experiment has succeeded, because
            DVC otherwise gives the accuracies of the commit.

    """

    name: str
    commit: str
    state: str
    params: Mapping[str, object]
    accuracies: Mapping[str, object]


def main() -> None:
    """Print both tables, or end with an error message."""
    console = Console()
    try:
        console.print(
            modes_table({mode: read_json(Path(f"metrics/{mode}.json")) for mode in MODES})
        )
    except (ThawError, KeyError, ValueError, TypeError) as error:
        sys.exit(f"error: metrics/ cannot be shown: {error}")
    if found := list(experiments()):
        console.print(experiments_table(found[:MOST]))
        if len(found) > MOST:
            console.print(
                f"{len(found) - MOST} more are not shown. `dvc exp show --all-commits` lists all."
            )
    else:
        console.print("No experiments yet. `dvc exp run -S freeze=20` runs one.")


def modes_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table of each mode's test accuracy and what it was trained with."""
    table = Table(title="The modes, as in metrics/")
    for name in ("", "test accuracy", "95 % interval", "parameters trained", "training images"):
        table.add_column(name, justify="right" if name else "left")
    for mode, of in metrics.items():
        table.add_row(
            MODES[mode],
            f"{of['test_accuracy']:.4f}",
            f"{of['test_accuracy_low']:.4f} to {of['test_accuracy_high']:.4f}",
            f"{of['parameters_trainable']:,}",
            f"{of['train_images']:,}",
        )
    return table


def baselines() -> list[str]:
    """Return HEAD and the newest other commits that experiments were started from."""
    # `dvc exp show --all-commits` would read every commit of the history.
    references = git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    stashes = [name for name in references if name.startswith("refs/exps/celery/")]
    queued = "\n".join(git("reflog", "show", "--format=%gs", name) for name in stashes)
    found = {"".join(match) for match in REFERENCE.findall("\n".join(references))}
    found |= set(QUEUED.findall(queued))
    head = git("rev-parse", "HEAD")
    if not found - {head}:
        return [head]
    order = ("--no-walk=sorted", "--ignore-missing", f"--max-count={MOST}")
    return [head, *git("rev-list", *order, *sorted(found - {head})).splitlines()]


def experiments() -> Iterator[Experiment]:
    """Yield HEAD's experiments and then those of other commits, as DVC reports them."""
    revisions = [part for commit in baselines() for part in ("--rev", commit)]
    for commit in json.loads(dvc("exp", "show", "--json", *revisions)):
        for entry in commit["experiments"] or ():
            yield experiment(commit["name"] or commit["rev"][:7], entry)


def experiment(commit: str, entry: Mapping[str, Any]) -> Experiment:
    """Return one experiment of `dvc exp show --json`.

    Args:
        commit: the commit that it was started from.
        entry: DVC's entry for it.

    """
    revision = entry["revs"][0]
    # An experiment that was run in the workspace has no executor and so no state.
    state = (entry["executor"] or {}).get("state") or MEASURED
    data = revision["data"] or {"params": {}, "metrics": {}}
    params = data["params"].get(paths.PARAMS.name, {}).get("data") or {}
    accuracies = {
        mode: (data["metrics"].get(f"metrics/{mode}.json", {}).get("data") or {}).get(
            "test_accuracy"
        )
        for mode in MODES
    }
    return Experiment(
        revision["name"] or revision["rev"][:7],
        commit,
        state,
        dict(flat({name: params[name] for name in Params.model_fields if name in params})),
        accuracies if state == MEASURED else {},
    )


def experiments_table(rows: list[Experiment]) -> Table:
    """Return a table of the experiments' states, test accuracies, and the params that differ."""
    # A dict instead of a set keeps the order of params.yaml.
    names = dict.fromkeys(name for row in rows for name in row.params)
    changed = [name for name in names if len({str(row.params.get(name)) for row in rows}) > 1]
    table = Table(title="Experiments")
    for name in ("experiment", "from", "state", *changed, *MODES.values()):
        table.add_column(name)
    for row in rows:
        params = (shown(row.params.get(name)) for name in changed)
        accuracies = (shown(row.accuracies.get(mode)) for mode in MODES)
        table.add_row(row.name, row.commit, row.state, *params, *accuracies)
    return table


if __name__ == "__main__":
    main()
