"""How fast a folder of photographs is read: python -m benchmarks.decoding.

thaw lists, decodes, crops, resizes and checks 5,000 JPEGs of 500x375; Keras'
`image_dataset_from_directory` does it without the checks. They take turns, so that whatever else
the machine does slows both. The files are in the system's cache for both.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import joblib
import keras
import numpy as np
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image

from benchmarks.apart import machine
from thaw.data.decoding import SIDE
from thaw.data.pictures import read_pictures

PICTURES = 5_000
ROUNDS = 3
WIDTH, HEIGHT = 500, 375
QUALITY = 90
CLASSES = ("one", "other")


def photographs() -> list[Image.Image]:
    """Return photographs from packages, as large as a picture or larger."""
    own = (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    images = [*own, *(load_sample_image(name) for name in ("china.jpg", "flower.jpg"))]
    return [enlarged(Image.fromarray(image)) for image in images]


def enlarged(image: Image.Image) -> Image.Image:
    """Return an image of at least 1.2 times the sides of a picture, so that crops differ."""
    factor = max(1.2 * WIDTH / image.width, 1.2 * HEIGHT / image.height, 1)
    return image.resize((round(factor * image.width), round(factor * image.height)))


def write_photographs(folder: Path, count: int) -> None:
    """Write JPEGs, cut from photographs at different places, half of them mirrored."""
    random = np.random.default_rng(0)
    images = photographs()
    for i in range(count):
        image = images[i % len(images)]
        left = int(random.integers(image.width - WIDTH + 1))
        top = int(random.integers(image.height - HEIGHT + 1))
        part = image.crop((left, top, left + WIDTH, top + HEIGHT))
        if random.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        # Photographs twice: each has a class of its own, so that no picture is in both.
        path = folder / CLASSES[i % len(images) % 2] / f"{i:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        part.save(path, quality=QUALITY)


def by_thaw(folder: Path) -> int:
    """Read all pictures with thaw; return how many came."""
    sums = []
    read_pictures(folder, lambda _, pixels: sums.append(int(pixels[0, 0, 0])))
    return len(sums)


def by_keras(folder: Path) -> int:
    """Read all pictures with Keras; return how many came."""
    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=(SIDE, SIDE), crop_to_aspect_ratio=True, shuffle=False, verbose=False
    )
    return sum(len(images) for images, _ in dataset)


def seconds(read: Callable[[Path], int], folder: Path, count: int) -> float:
    """Return how long a way of reading takes."""
    begin = time.perf_counter()
    if (came := read(folder)) != count:
        raise RuntimeError(f"{read.__name__} returned {came} pictures of {count}")
    return time.perf_counter() - begin


def main() -> None:
    """Write the pictures, read them both ways, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder, count)
        for read in (by_keras, by_thaw):
            read(folder)  # imports, traces, fills the system's cache
        rounds = [[seconds(read, folder, count) for read in (by_keras, by_thaw)] for _ in range(3)]
    for theirs, ours in rounds:
        print(f"Keras {theirs:.2f} s, thaw {ours:.2f} s, {theirs / ours:.2f} times as fast")
    ratios = [theirs / ours for theirs, ours in rounds]
    print(f"{count:,} pictures, median of {ROUNDS}: {statistics.median(ratios):.2f} times as fast")
    print(f"{joblib.cpu_count()} threads; {machine()}")


if __name__ == "__main__":
    main()
