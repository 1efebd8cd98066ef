"""Stage weights: ResNet50's weights from where params.yaml says.

Writes  data/weights/  resnet50.weights.h5, source.json
"""

from pathlib import Path

from thaw.config.params import load_params
from thaw.network import sources, weights
from thaw.support.runtime import configure
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    configure(params.seed, params.threads)
    model, source = sources.obtain(params.weights, root)
    weights.save(root / "data/weights", model, source)
    top = "with" if source.top else "without"
    return f"ResNet50, {source.name}, {top} its 1000-class top"


if __name__ == "__main__":
    run("weights", main)
