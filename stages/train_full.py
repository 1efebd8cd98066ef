"""Stage train-full: train all of ResNet50 and the head, by default on a few images.

Reads   data/images/  data/weights/
Writes  data/models/full/  metrics/full.json  data/results/full/
"""

from functools import partial
from pathlib import Path

from thaw.config.stages import TrainFullConfig
from thaw.findings.classifier_results import write_results
from thaw.support.runtime import set_up
from thaw.support.stage import run
from thaw.training.fine_tune import fine_tune
from thaw.training.result import each_seed


def main(root: Path = Path()) -> str:
    """Run the stage in the project's folder `root`; return a summary for the log."""
    config = TrainFullConfig.load(root)
    set_up(config.threads, config.instruction_set, config.precision)
    results = each_seed(partial(fine_tune, root), config, config.train_full.seeds)
    return write_results(root, "full", config, results)


if __name__ == "__main__":
    run("train-full", main, TrainFullConfig.memory_needed)
