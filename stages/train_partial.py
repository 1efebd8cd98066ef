"""Stage train-partial: freeze the first layers of ResNet50, train the rest and the head.

Reads   data/images/  data/weights/
Writes  data/models/partial/  metrics/partial.json  data/results/partial/
"""

from functools import partial
from pathlib import Path

from thaw.config.stages import TrainPartialConfig
from thaw.findings.classifier_results import write_results
from thaw.support.runtime import set_up
from thaw.support.stage import run
from thaw.training.fine_tune import fine_tune
from thaw.training.result import each_seed


def main(root: Path = Path()) -> str:
    """Run the stage in the project's folder `root`; return a summary for the log."""
    config = TrainPartialConfig.load(root)
    set_up(config.threads, config.instruction_set, config.precision)
    results = each_seed(partial(fine_tune, root), config, config.train_partial.seeds)
    return write_results(root, "partial", config, results)


if __name__ == "__main__":
    run("train-partial", main, TrainPartialConfig.memory_needed)
