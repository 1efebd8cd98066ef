"""The pictures of all packages in one file, and which of them no training scene may show."""

import csv
import hashlib
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from thaw.support.files import atomic_folder

_PIXELS, _TABLE = "pixels.bin", "pictures.csv"
_SKIN_TONE = re.compile(r"-1f3f[b-f]|-fe0f")


@dataclass(frozen=True)
class Picture:
    """One picture's line in the table."""

    package: str
    name: str
    """Its path in the package."""
    kind: str
    """clipart, emoji or photo."""
    licence: str
    held_out: bool
    height: int
    width: int


def group_of(kind: str, name: str) -> str:
    """Return what must fall on one side of the split together.

    One emoji in its three styles and all skin tones; one wallpaper in all sizes and lights.
    """
    path = PurePosixPath(name)
    if kind == "emoji":
        return f"emoji {_SKIN_TONE.sub('', path.stem)}"
    if "contents" in path.parts:  # Plasma: NAME/contents/images/1080x1920.png
        return f"wallpaper {path.parts[path.parts.index('contents') - 1]}"
    return f"{kind} {re.split(r'[_-](?:[dl]|[0-9]+x[0-9]+)$', path.stem)[0]}"


def has_skin_tone(name: str) -> bool:
    """Tell an emoji of one of the five skin tones from the one that stands for all."""
    return re.search(r"-1f3f[b-f]", PurePosixPath(name).stem) is not None


def is_held_out(group: str, fraction: float) -> bool:
    """Decide by the group's name alone, so that a new package moves no other picture."""
    return int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < fraction * 2**32


def write_pictures(folder: Path, pictures: list[tuple[Picture, NDArray[np.uint8]]]) -> None:
    """Write pictures, each (height, width, 4) uint8 RGBA, to `folder`, whole or not at all."""
    with atomic_folder(folder) as scratch:
        with (scratch / _PIXELS).open("wb") as file:
            for _, pixels in pictures:
                file.write(np.ascontiguousarray(pixels).tobytes())
        with (scratch / _TABLE).open("w", newline="", encoding="utf-8") as table:
            writer = csv.DictWriter(table, [field.name for field in fields(Picture)])
            writer.writeheader()
            writer.writerows(asdict(picture) for picture, _ in pictures)


class Library:
    """Pictures of one side of the split, read from the disk as they are asked for."""

    def __init__(self, folder: Path, held_out: bool) -> None:
        self._pixels = np.memmap(folder / _PIXELS, np.uint8, mode="r")
        self.by_kind: dict[str, list[int]] = {}
        self.pictures: list[Picture] = []
        self._offsets: list[int] = []
        offset = 0
        for picture in _read_table(folder / _TABLE):
            if picture.held_out == held_out:
                self.by_kind.setdefault(picture.kind, []).append(len(self.pictures))
                self.pictures.append(picture)
                self._offsets.append(offset)
            offset += picture.height * picture.width * 4

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """Return picture number `index` as (height, width, 4) uint8 RGBA."""
        picture, offset = self.pictures[index], self._offsets[index]
        size = picture.height * picture.width * 4
        return self._pixels[offset : offset + size].reshape(picture.height, picture.width, 4)


def _read_table(path: Path) -> list[Picture]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Picture(
                package=row["package"],
                name=row["name"],
                kind=row["kind"],
                licence=row["licence"],
                held_out=row["held_out"] == "True",
                height=int(row["height"]),
                width=int(row["width"]),
            )
            for row in csv.DictReader(file)
        ]
