"""What travels to the machine: its files, their digests, and how they are read there."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.lite import Arrays, Lite, Teachers
from pretrain.pictures import Picture, write_pictures
from pretrain.settings import HERE
from thaw.support.errors import ThawError
from thaw.support.files import atomic_file, sha256
from thaw.support.tables import read_json, write_json

CARRIED = HERE / "carried"
PICTURES, TEACHERS, MANIFEST = "pictures.npz", "teachers.npz", "manifest.json"
PART = 500
"""Pictures decoded as one piece of work."""

Encoded = list[NDArray[np.uint8]]
Mapped = Callable[[Callable[[Encoded], list[NDArray[np.uint8]]], Iterable[Encoded]], Iterable]
"""`map`, or a pool's."""


def write_manifest(folder: Path) -> None:
    """Write the digests of all files that travel."""
    write_json(folder / MANIFEST, {name: sha256(folder / name) for name in (PICTURES, TEACHERS)})


def verify(folder: Path) -> None:
    """Compare the files with the manifest.

    Raises:
        ThawError: one is missing or holds other bytes.

    """
    for name, expected in read_json(folder / MANIFEST).items():
        path = folder / name
        received = sha256(path) if path.is_file() else "no such file"
        if received != expected:
            raise ThawError(
                f"{path} must have SHA-256 {expected}. Received: {received}. Pack anew: "
                "`make pretrain-library`, and carry the whole folder."
            )


def write_encoded(path: Path, pictures: list[tuple[Picture, NDArray[np.uint8]]]) -> None:
    """Write pictures, each as a WebP file's bytes."""
    with atomic_file(path) as scratch, scratch.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            data=np.concatenate([encoded for _, encoded in pictures]),
            sizes=np.array([len(encoded) for _, encoded in pictures], np.int64),
            kinds=np.array([picture.kind for picture, _ in pictures]),
            held_out=np.array([picture.held_out for picture, _ in pictures]),
        )


def unpack(carried: Path, folder: Path, mapped: Mapped = map) -> int:
    """Write the carried pictures to `folder` as `Library` reads them; return how many there are."""
    with np.load(carried / PICTURES) as file:
        data, sizes, kinds, held_out = (
            file[name] for name in ("data", "sizes", "kinds", "held_out")
        )
    ends = np.concatenate([[0], np.cumsum(sizes)])
    encoded = [data[start:end] for start, end in pairwise(ends)]
    parts = [encoded[start : start + PART] for start in range(0, len(encoded), PART)]
    images = (image for part in mapped(decode, parts) for image in part)
    pictures = [
        (_picture(number, str(kind), bool(held), image.shape), image)
        for number, (kind, held, image) in enumerate(zip(kinds, held_out, images, strict=True))
    ]
    write_pictures(folder, pictures)
    return len(pictures)


def decode(encoded: Encoded) -> list[NDArray[np.uint8]]:
    """Return (height, width, 4) uint8 RGBA of each WebP."""
    return [_rgba(cv2.imdecode(bytes_, cv2.IMREAD_UNCHANGED)) for bytes_ in encoded]


def _rgba(pixels: Any) -> NDArray[np.uint8]:
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return np.asarray(cv2.cvtColor(pixels, code))


def _picture(number: int, kind: str, held_out: bool, shape: tuple[int, ...]) -> Picture:
    return Picture("carried", str(number), kind, "", held_out, shape[0], shape[1])


def write_teachers(path: Path, teachers: dict[int, Arrays]) -> None:
    """Write networks' kernels in bfloat16 and their biases in float32.

    The GPU computes in bfloat16: it would round a kernel in float16 or float32 to the same. Upper
    bytes, the sign and most of the exponent, compress to a third; so they are stored by themselves.
    """
    stored: dict[str, NDArray] = {}
    for variant, arrays in teachers.items():
        for position, array in enumerate(arrays):
            name = f"{variant}/{position:03}"
            if array.ndim == 1:
                stored[f"{name}/bias"] = array.astype(np.float32)
                continue
            bits = torch.from_numpy(array).to(torch.bfloat16).view(torch.int16).numpy()
            stored[f"{name}/upper"] = (bits >> 8).astype(np.uint8)
            stored[f"{name}/lower"] = (bits & 255).astype(np.uint8)
    with atomic_file(path) as scratch, scratch.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **stored)


def load_teachers(path: Path, variants: Iterable[int], device: str) -> Teachers:
    """Return some of the carried networks as one teacher.

    In bfloat16 on a GPU, but for the classifier, whose answers it would round by a 256th; in
    float32 on a CPU, which may be ten times slower at bfloat16.
    """
    with np.load(path) as file:
        networks = [Lite(variant, list(_arrays(file, variant))) for variant in variants]
    kind = torch.float32 if device == "cpu" else torch.bfloat16
    return Teachers(networks).to(device).compute_in(kind).eval()


def _arrays(file: "np.lib.npyio.NpzFile", variant: int) -> Iterator[NDArray[np.float32]]:
    names = sorted(name for name in file.files if name.startswith(f"{variant}/"))
    if not names:
        raise ThawError(f"The carried teachers must include Lite{variant}. Pack anew.")
    for name in names:
        if name.endswith("/bias"):
            yield file[name]
        elif name.endswith("/upper"):
            lower = file[name.replace("/upper", "/lower")].astype(np.uint32)
            bits = file[name].astype(np.uint32) << 24 | lower << 16
            yield bits.view(np.float32)


def total_bytes(folder: Path) -> int:
    """Return the size of what travels."""
    return sum((folder / name).stat().st_size for name in (PICTURES, TEACHERS, MANIFEST))


def describe(folder: Path) -> str:
    """Return the files' sizes as text."""
    sizes = {name: (folder / name).stat().st_size for name in (PICTURES, TEACHERS)}
    return json.dumps({name: f"{size / 1e6:.1f} MB" for name, size in sizes.items()})
