"""Stage train-frozen: train a classifier head on cached ResNet50 features.

Reads   data/features/  features (n, 2048) float32, labels (n,) int64
        data/weights/
Writes  data/models/frozen/  metrics/frozen.json  data/results/frozen/
"""

from functools import partial
from pathlib import Path

from thaw.config.stages import TrainFrozenConfig
from thaw.findings.classifier_results import write_results
from thaw.support.runtime import set_up
from thaw.support.stage import run
from thaw.training.frozen import train_frozen
from thaw.training.result import each_seed


def main(root: Path = Path()) -> str:
    """Run the stage in the project's folder `root`; return a summary for the log."""
    config = TrainFrozenConfig.load(root)
    set_up(config.threads, config.instruction_set)
    results = each_seed(partial(train_frozen, root), config, config.train_frozen.seeds)
    return write_results(root, "frozen", config, results)


if __name__ == "__main__":
    run("train-frozen", main, TrainFrozenConfig.memory_needed)
