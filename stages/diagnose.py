"""Stage diagnose: why the notebooks ended at val_acc = 0.1, tested one mistake at a time.

Reads   data/images/  data/weights/
Writes  data/results/diagnose/
            summary.json: the results of each cell, nested, and the range of the input
            cells.csv: the results of each cell after the last epoch
            history.csv: every epoch of each cell
            shifts.csv: the shift in each batch normalisation layer, in the network's order
"""

from collections.abc import Sequence
from dataclasses import astuple, fields
from pathlib import Path

from thaw.config.stages import DiagnoseConfig
from thaw.findings.cells import LEVELS, CellRow, ShiftRow
from thaw.findings.diagnosis import CellResult, diagnose
from thaw.support import paths
from thaw.support.files import atomic_folder
from thaw.support.stage import run
from thaw.support.tables import write_csv, write_json
from thaw.training.history import HISTORY_COLUMNS

DIGITS = 4
"""The decimal places of the shifts."""


def main(root: Path = Path()) -> str:
    """Run the stage in `root` and return one line about its results."""
    results, summary = diagnose(root, DiagnoseConfig.load(root))
    with atomic_folder(root / paths.RESULTS / "diagnose") as folder:
        write_json(folder / paths.SUMMARY, summary)
        _write_tables(folder, results)
    # Last, so that a run interrupted while it writes can still resume from the checkpoints.
    for result in results:
        result.checkpoint.clear()
    if not results:
        return "left out: the notebooks' mistakes belong to Fashion-MNIST"
    reached = [result.row.validation_accuracy for result in results]
    return f"validation accuracy {min(reached):.3f} to {max(reached):.3f} in {len(reached)} cells"


def _write_tables(folder: Path, results: Sequence[CellResult]) -> None:
    columns = [field.name for field in fields(CellRow)]
    write_csv(folder / "cells.csv", columns, [astuple(result.row) for result in results])
    history, shifts = [], []
    for result in results:
        cell = (result.cell.freeze, result.cell.value_range, result.cell.statistics)
        for epoch in result.history.rows:
            # The first column is the epoch, which is written as a whole number.
            values = (epoch[column] for column in HISTORY_COLUMNS[1:])
            history.append((*cell, int(epoch["epoch"]), *values))
        for layer, shift in result.shifts.items():
            shifts.append(astuple(ShiftRow(*cell, layer, round(shift, DIGITS))))
    write_csv(folder / "history.csv", (*LEVELS, *HISTORY_COLUMNS), history)
    write_csv(folder / "shifts.csv", [field.name for field in fields(ShiftRow)], shifts)


if __name__ == "__main__":
    run("diagnose", main, DiagnoseConfig.memory_needed)
