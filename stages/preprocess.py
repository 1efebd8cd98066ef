"""Stage preprocess: divide the dataset and store it as RGB images of 32 and of 224 pixels.

Reads   the dataset: data/fashion-mnist/ or a folder of pictures
Writes  data/images/  rgb32.h5, rgb224.h5: images (n, side, side, 3) uint8, labels, positions
                      dataset.json: its name, classes and counts
                      files.csv: the file, the part and the class of each picture in a folder
"""

from pathlib import Path

from thaw.config.fields import FASHION_MNIST
from thaw.config.stages import PreprocessConfig
from thaw.data.dataset import PARTS
from thaw.data.preparing import prepare_fashion_mnist, prepare_pictures
from thaw.support import paths
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    config = PreprocessConfig.load(root)
    images = root / paths.IMAGES
    if config.dataset == FASHION_MNIST:
        dataset = prepare_fashion_mnist(root / paths.FASHION_MNIST, images, config.samples)
    else:
        dataset = prepare_pictures(root, config.dataset, images, config.samples)
    counts = ", ".join(f"{dataset.counts[part]:,} {part}" for part in PARTS)
    return f"{dataset.name}, {len(dataset.classes)} classes: {counts} images"


if __name__ == "__main__":
    run("preprocess", main, PreprocessConfig.memory_needed)
