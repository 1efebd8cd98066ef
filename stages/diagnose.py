"""Stage diagnose: why the notebooks ended at val_acc = 0.1, by switching their mistakes one by one.

Reads   data/images/  data/weights/
Writes  metrics/diagnose.json
        data/results/diagnose/  cells.csv, history.csv
            shifts.csv: by batch normalisation layer, in the network's order
"""

from pathlib import Path

from thaw.config.load import load_params
from thaw.config.stages import DiagnoseConfig
from thaw.findings.diagnosis import Cell, CellResult, diagnose
from thaw.support.files import atomic_folder
from thaw.support.stage import run
from thaw.support.tables import write_csv, write_json
from thaw.training.history import HISTORY_COLUMNS

CELL = ("freeze", "value_range", "statistics")
COLUMNS = (*CELL, "train_accuracy", "validation_accuracy", "validation_loss", "statistics_shift")
DIGITS = 4


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    outcomes, metrics = diagnose(root, load_params(root))
    with atomic_folder(root / "data/results/diagnose") as results:
        _write_tables(results, outcomes, metrics)
    write_json(root / "metrics/diagnose.json", metrics)
    for outcome in outcomes.values():
        outcome.kept.clear()
    reached = [outcome.history.rows[-1]["val_accuracy"] for outcome in outcomes.values()]
    return f"validation accuracy {min(reached):.3f} to {max(reached):.3f} in {len(reached)} cells"


def _write_tables(
    folder: Path, outcomes: dict[Cell, CellResult], metrics: dict[str, float | int | str]
) -> None:
    named = {cell: (cell.freeze, cell.value_range, cell.statistics) for cell in outcomes}
    rows = [(*named[cell], *(metrics[f"{cell.key}_{c}"] for c in COLUMNS[3:])) for cell in outcomes]
    write_csv(folder / "cells.csv", COLUMNS, rows)
    every = [
        (*named[cell], int(row["epoch"]), *(row[column] for column in HISTORY_COLUMNS[1:]))
        for cell, outcome in outcomes.items()
        for row in outcome.history.rows
    ]
    write_csv(folder / "history.csv", (*CELL, *HISTORY_COLUMNS), every)
    shifts = [
        (*named[cell], layer, round(shift, DIGITS))
        for cell, outcome in outcomes.items()
        for layer, shift in outcome.shifts.items()
    ]
    write_csv(folder / "shifts.csv", (*CELL, "layer", "statistics_shift"), shifts)


if __name__ == "__main__":
    run("diagnose", main, DiagnoseConfig.memory_needed)
