"""Stage train-partial: the first layers of ResNet50 frozen, the rest and the head trained.

Reads   data/images/  data/weights/
Writes  data/models/partial.weights.h5  metrics/partial.json  data/results/partial/
"""

from pathlib import Path

from thaw.modes import fine_tune, write_results
from thaw.params import load_params
from thaw.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    trained = fine_tune(
        root,
        params,
        "train-partial",
        params.train_partial,
        params.freeze,
        params.batch_norm,
        params.cache.max_gb,
        params.engine,
    )
    return write_results(root, "partial", trained)


if __name__ == "__main__":
    run("train-partial", main)
