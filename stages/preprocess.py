"""Stage preprocess: split Fashion-MNIST and store it as RGB images of 32 and of 224 pixels.

Reads   data/raw/     the four IDX files
Writes  data/images/  rgb32.h5, rgb224.h5: images (n, side, side, 3) uint8, labels, positions
"""

from pathlib import Path

from thaw.config.stages import PreprocessConfig
from thaw.data import fashion_mnist
from thaw.data.image_store import LARGE, SMALL, write_images
from thaw.data.splits import SPLITS, check_split, make_splits
from thaw.support import paths
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    config = PreprocessConfig.load(root)
    splits = make_splits(*fashion_mnist.load(root / paths.RAW), config.samples)
    check_split(splits)
    for size in (SMALL, LARGE):
        write_images(root / paths.IMAGES / f"rgb{size}.h5", splits, size)
    counts = ", ".join(f"{len(splits[name]):,} {name}" for name in SPLITS[:3])
    return f"{counts} images at {SMALL} and {LARGE} px"


if __name__ == "__main__":
    run("preprocess", main, PreprocessConfig.memory_needed)
