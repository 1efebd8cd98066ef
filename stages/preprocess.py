"""Stage preprocess: Fashion-MNIST as RGB of 32 and of 224 pixels, split into three parts.

Reads   data/raw/     the four IDX files
Writes  data/images/  rgb32.h5, rgb224.h5: images (n, side, side, 3) uint8, labels, positions
"""

from pathlib import Path

from thaw.config.load import load_params
from thaw.config.stages import PreprocessConfig
from thaw.data import fashion_mnist, images
from thaw.support.stage import run


def main(root: Path = Path()) -> str:
    """Run the stage in `root`."""
    params = load_params(root)
    parts = images.split(*fashion_mnist.load(root / "data/raw"), params)
    images.check_split(parts)
    for size in (images.SMALL, images.LARGE):
        images.write_images(root / f"data/images/rgb{size}.h5", parts, size)
    counts = ", ".join(f"{len(parts[name].positions):,} {name}" for name in images.PARTS[:3])
    return f"{counts} images at {images.SMALL} and {images.LARGE} px"


if __name__ == "__main__":
    run("preprocess", main, PreprocessConfig.memory_needed)
