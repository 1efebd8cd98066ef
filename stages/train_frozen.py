"""Stage train-frozen: a classifier head on cached ResNet50 features.

Reads   data/features/  features (n, 2048) float32, labels (n,) int64
        data/weights/
Writes  data/models/frozen.weights.h5  metrics/frozen.json  data/results/frozen/
"""

from functools import partial
from pathlib import Path

from thaw.config.load import load_params
from thaw.config.stages import TrainFrozenConfig
from thaw.support.stage import run
from thaw.training.modes import each_seed, train_frozen, write_results


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    runs = each_seed(partial(train_frozen, root), params, params.train_frozen.seeds)
    return write_results(root, "frozen", runs)


if __name__ == "__main__":
    run("train-frozen", main, TrainFrozenConfig.memory_needed)
