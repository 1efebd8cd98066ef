"""Stage diagnose: why the notebooks ended at val_acc = 0.1, by switching their mistakes one by one.

Reads   data/images/  data/weights/
Writes  metrics/diagnose.json  data/results/diagnose/  cells.csv, history.csv
"""

from pathlib import Path

from thaw.diagnosis import Cells, diagnose
from thaw.files import atomic_folder, write_csv, write_json
from thaw.params import load_params
from thaw.stage import run
from thaw.training import HISTORY_COLUMNS

COLUMNS = ("cell", "train_accuracy", "validation_accuracy", "validation_loss")


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    cells, metrics, checkpoints = diagnose(root, load_params(root))
    with atomic_folder(root / "data/results/diagnose") as results:
        _write_tables(results, cells)
    write_json(root / "metrics/diagnose.json", metrics)
    for kept in checkpoints:
        kept.clear()
    right = metrics["byte_stored_validation_accuracy"]
    wrong = metrics["unit_batch_validation_accuracy"]
    return f"validation accuracy {right:.3f} done right, {wrong:.3f} with both mistakes"


def _write_tables(folder: Path, cells: Cells) -> None:
    named = {f"{r} input, {b} statistics": history for (r, b), history in cells.items()}
    last = {name: history.rows[-1] for name, history in named.items()}
    rows = [(n, row["accuracy"], row["val_accuracy"], row["val_loss"]) for n, row in last.items()]
    write_csv(folder / "cells.csv", COLUMNS, rows)
    every = [
        (name, int(row["epoch"]), *(row[column] for column in HISTORY_COLUMNS[1:]))
        for name, history in named.items()
        for row in history.rows
    ]
    write_csv(folder / "history.csv", ("cell", *HISTORY_COLUMNS), every)


if __name__ == "__main__":
    run("diagnose", main)
