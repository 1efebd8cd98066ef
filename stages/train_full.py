"""Stage train-full: all of ResNet50 and the head, end to end, by default on few images.

Reads   data/images/  data/weights/
Writes  data/models/full.weights.h5  metrics/full.json  data/results/full/
"""

from pathlib import Path

from thaw.modes import fine_tune, write_results
from thaw.params import load_params
from thaw.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    trained = fine_tune(root, params, "train-full", params.train_full)
    return write_results(root, "full", trained)


if __name__ == "__main__":
    run("train-full", main)
