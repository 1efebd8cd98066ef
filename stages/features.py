"""Stage features: run every image through the frozen ResNet50 once.

Reads   data/images/    images (n, side, side, 3) uint8
        data/weights/   resnet50.weights.h5, source.json
Writes  data/features/  features.h5: features (n, 2048) float32, labels (n,) int64
"""

from pathlib import Path

from thaw.config.stages import FeaturesConfig
from thaw.data.dataset import read_dataset
from thaw.data.image_store import open_images
from thaw.network import features, weights
from thaw.network.backbone import feature_model
from thaw.support import paths
from thaw.support.runtime import set_up
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in the project's folder `root`; return a summary for the log."""
    config = FeaturesConfig.load(root)
    set_up(config.threads, config.instruction_set)
    backbone, model = feature_model(config.image_size, config.value_range)
    source = weights.load(root / paths.WEIGHTS, backbone)
    folder = root / paths.IMAGES
    splits = read_dataset(folder).splits
    images = {name: open_images(folder, config.image_size, name) for name in splits}
    features.write_features(
        root / paths.FEATURES, model, images, config.engine, config.engine_precision
    )
    total = sum(len(some) for some in images.values())
    return f"{total:,} images of {config.image_size} px, weights: {source.name}, by {config.engine}"


if __name__ == "__main__":
    run("features", main, FeaturesConfig.memory_needed)
