"""The three modes and the experiments so far, as tables: python -m tools.compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dvc.api
from rich.console import Console
from rich.table import Table

from thaw.drawing import MODES
from thaw.files import read_json
from thaw.params import Params

MOST = 20
"""Experiments shown, the last ones."""


def main() -> None:
    """Print both tables."""
    console = Console()
    metrics = {mode: read_json(Path(f"metrics/{mode}.json")) for mode in MODES}
    console.print(modes_table(metrics))
    experiments = [row for row in dvc.api.exp_show() if row.get("Experiment")]
    if experiments:
        console.print(experiments_table(experiments[-MOST:]))
    else:
        console.print("No experiments yet: `dvc exp run -S freeze=20` makes one.")


def modes_table(metrics: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return what each mode reached, and at what price."""
    table = Table(title="What is committed or was run last")
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


def experiments_table(rows: list[Mapping[str, Any]]) -> Table:
    """Return each experiment's test accuracies, and the params in which they differ."""
    accuracies = {f"metrics/{mode}.json:test_accuracy": MODES[mode] for mode in MODES}
    changed = [
        name
        for name in rows[0]
        if name.removeprefix("params.yaml:").split(".")[0] in Params.model_fields
        and len({str(row.get(name)) for row in rows}) > 1
    ]
    table = Table(title="Experiments")
    for name in ("experiment", *changed, *accuracies.values()):
        table.add_column(name)
    for row in rows:
        values = (row.get(name) for name in (*changed, *accuracies))
        table.add_row(str(row["Experiment"]), *map(shown, values))
    return table


def shown(value: object) -> str:
    """Return a value as it was written: DVC makes floats of all numbers."""
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
