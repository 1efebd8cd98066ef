"""Stage train-partial: the first layers of ResNet50 frozen, the rest and the head trained.

Reads   data/images/  data/weights/
Writes  data/models/partial.weights.h5  metrics/partial.json  data/results/partial/
"""

from functools import partial
from pathlib import Path

from thaw.config.load import load_params
from thaw.config.stages import TrainPartialConfig
from thaw.support.stage import run
from thaw.training.modes import each_seed, fine_tune, write_results


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    training = params.train_partial
    train = partial(
        fine_tune,
        root,
        stage="train-partial",
        training=training,
        freeze=params.freeze,
        frozen_batch_norm=params.frozen_batch_norm,
        cache_gb=params.cache.max_gb,
        engine=params.engine,
    )
    return write_results(root, "partial", each_seed(train, params, training.seeds))


if __name__ == "__main__":
    run("train-partial", main, TrainPartialConfig.memory_needed)
