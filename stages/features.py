"""Stage features: every image through the frozen ResNet50, once.

Reads   data/images/    images (n, side, side, 3) uint8
        data/weights/
Writes  data/features/  features.h5: features (n, 2048) float32, labels (n,) int64
"""

from pathlib import Path

from thaw.config.params import load_params
from thaw.data.images import PARTS, open_images
from thaw.network import features, weights
from thaw.network.backbone import feature_model
from thaw.support.runtime import configure
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    configure(seed=0, threads=params.threads)  # nothing is drawn: another seed changes nothing
    backbone, model = feature_model(params.image_size, params.input_range)
    source = weights.load(root / "data/weights", backbone)
    images = {part: open_images(root / "data/images", params.image_size, part) for part in PARTS}
    path = root / "data/features/features.h5"
    features.write_features(path, model, images, params.engine)
    total = sum(len(some) for some in images.values())
    return f"{total:,} images of {params.image_size} px, weights: {source.name}, by {params.engine}"


if __name__ == "__main__":
    run("features", main)
