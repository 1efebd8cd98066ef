"""How fast a folder of photographs is read: python -m benchmarks.decoding.

thaw lists, decodes, crops, resizes and checks 5,000 JPEGs of 500x375, antialiased; Keras'
`image_dataset_from_directory` does it without antialiasing and checks. They take turns, so that
whatever else the machine does slows both. The files are in the system's cache for both.
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
WIDTH = 500
"""Pixels; the height is three quarters of it."""
QUALITY = 90
CLASSES = ("one", "other")


def photographs(width: int) -> list[Image.Image]:
    """Return photographs from packages, at least 1.2 times as large as a picture."""
    own = (data.astronaut(), data.chelsea(), data.coffee(), data.rocket())
    arrays = [*own, *(load_sample_image(name) for name in ("china.jpg", "flower.jpg"))]
    return [_enlarged(Image.fromarray(array), width) for array in arrays]


def _enlarged(image: Image.Image, width: int) -> Image.Image:
    factor = max(1.2 * width / image.width, 1.2 * width * 3 / 4 / image.height, 1)
    return image.resize((round(factor * image.width), round(factor * image.height)))


def write_photographs(folder: Path, count: int, width: int = WIDTH) -> None:
    """Write JPEGs, cut from photographs at different places, half of them mirrored."""
    random = np.random.default_rng(0)
    images = photographs(width)
    height = width * 3 // 4
    for i in range(count):
        image = images[i % len(images)]
        left = int(random.integers(image.width - width + 1))
        top = int(random.integers(image.height - height + 1))
        part = image.crop((left, top, left + width, top + height))
        if random.random() < 0.5:
            part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        # Each photograph stays in one class, so that no picture can be in both.
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


def measure(read: Callable[[Path], int], folder: Path, count: int) -> tuple[float, float]:
    """Return the seconds that a way of reading takes, and those of all processors together."""
    wall, used = time.perf_counter(), time.process_time()
    if (came := read(folder)) != count:
        raise RuntimeError(f"{read.__name__} returned {came} pictures of {count}")
    return time.perf_counter() - wall, time.process_time() - used


def main() -> None:
    """Write the pictures, read them both ways, print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--width", type=int, default=WIDTH)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_photographs(folder, asked.pictures, asked.width)
        for read in (by_keras, by_thaw):
            read(folder)  # imports, traces, fills the system's cache
        rounds = [
            [measure(read, folder, asked.pictures) for read in (by_keras, by_thaw)]
            for _ in range(ROUNDS)
        ]
    for theirs, ours in rounds:
        print(
            f"Keras {theirs[0]:.2f} s ({theirs[1]:.2f} s of processors), thaw {ours[0]:.2f} s "
            f"({ours[1]:.2f} s): {theirs[0] / ours[0]:.2f} times as fast"
        )
    ratio = statistics.median(theirs[0] / ours[0] for theirs, ours in rounds)
    size = f"{asked.width}x{asked.width * 3 // 4}"
    print(f"{asked.pictures:,} pictures of {size}: {ratio:.2f} times as fast as Keras (median)")
    print(f"{joblib.cpu_count()} threads; {machine()}")


if __name__ == "__main__":
    main()
