import io

from rich.console import Console
from rich.table import Table

from tools.compare import experiments_table, modes_table


def printed(table: Table) -> str:
    file = io.StringIO()
    Console(width=160, file=file).print(table)
    return file.getvalue()


def test_the_modes() -> None:
    metrics = {"test_accuracy": 0.8, "test_accuracy_low": 0.75, "test_accuracy_high": 0.85}
    metrics |= {"parameters_trainable": 1234, "train_images": 5000}
    text = printed(modes_table({"frozen": metrics}))
    for shown in ("train-frozen", "0.8000", "0.7500 to 0.8500", "1,234", "5,000"):
        assert shown in text


def test_experiments_show_the_params_in_which_they_differ() -> None:
    accuracy = "metrics/partial.json:test_accuracy"
    rows = [
        {"Experiment": "warm-ibis", "freeze": 10.0, "seed": 0.0, accuracy: 0.81},
        {"Experiment": "cold-newt", "freeze": "conv4", "seed": 0.0, accuracy: None},
    ]
    text = printed(experiments_table(rows))
    for shown in ("warm-ibis", "cold-newt", "freeze", "10 ", "conv4", "0.81", "train-partial"):
        assert shown in text
    assert "seed" not in text
