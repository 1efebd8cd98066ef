"""Stage weights: get ResNet50's weights from the source that params.yaml names.

Writes  data/weights/  resnet50.weights.h5, source.json
"""

from pathlib import Path

from thaw.config.stages import WeightsConfig
from thaw.network import sources, weights
from thaw.support import paths
from thaw.support.runtime import set_up
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in the project's folder `root`; return a summary for the log."""
    config = WeightsConfig.load(root)
    set_up(config.threads)
    model, source = sources.obtain(config.weights, root, config.seed)
    weights.save(root / paths.WEIGHTS, model, source)
    top = "with" if source.top else "without"
    return f"ResNet50, {source.name}, {top} its 1000-class top"


if __name__ == "__main__":
    run("weights", main, WeightsConfig.memory_needed)
