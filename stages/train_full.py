"""Stage train-full: all of ResNet50 and the head, end to end, by default on few images.

Reads   data/images/  data/weights/
Writes  data/models/full.weights.h5  metrics/full.json  data/results/full/
"""

from functools import partial
from pathlib import Path

from thaw.config.load import load_params
from thaw.config.stages import TrainFullConfig
from thaw.support.stage import run
from thaw.training.modes import each_seed, fine_tune, write_results


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    training = params.train_full
    train = partial(fine_tune, root, stage="train-full", training=training)
    return write_results(root, "full", each_seed(train, params, training.seeds))


if __name__ == "__main__":
    run("train-full", main, TrainFullConfig.memory_needed)
