"""List the files in a folder of pictures."""

import errno
import os
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thaw.data.dataset import PARTS
from thaw.data.decoding import PictureError, decode
from thaw.data.problems import LAYOUT, Problems, reason, shown
from thaw.support.places import FILE, FOLDER, kind

Place = tuple[str, ...]
"""The names of the folders from the top down to a file, and the file's."""
_PARTS = {name: name for name in PARTS} | {"val": "validation", "valid": "validation"}
_LEFT_OUT = ("thumbs.db", "desktop.ini", "__macosx")
_MOST_BYTES = 1 << 30
"""Of a member of a tar file, which is read at once."""


@dataclass(frozen=True)
class Source:
    """Where a picture's bytes are: a file, or `size` bytes of a tar file from `start` on."""

    path: Path
    start: int = 0
    size: int | None = None

    def decode(self) -> NDArray[np.uint8]:
        """Return the canonical pixels, (224, 224, 3) uint8.

        Raises:
            PictureError: it cannot be read.

        """
        return decode(self.path if self.size is None else BytesIO(self.read()))

    def read(self) -> bytes:
        """Return the bytes of a member of a tar file.

        Raises:
            PictureError: they cannot be read, or are too many.

        """
        size = self.size or 0
        if size > _MOST_BYTES:
            raise PictureError(f"has {size:,} bytes; at most {_MOST_BYTES:,} are read")
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                content = file.read(size)
        except OSError as error:
            raise PictureError(f"cannot be read: {reason(error)}") from error
        if len(content) < size:
            raise PictureError("is cut off: the tar file ends before")
        return content


@dataclass(frozen=True)
class Entry:
    """A file that should be a picture.

    Attributes:
        place: from the folder of pictures on, such as (train, cats, 1.jpg).
        source: its bytes.
        name: the file's name below the folder, with slashes; `shard.tar/member` in a tar file.

    """

    place: Place
    source: Source
    name: str


@dataclass
class Walk:
    """What lies in a folder.

    Attributes:
        files: every file that is not left out, with its status already checked.
        folders: every folder, without the top itself.
        left_out: how many files and folders were left out, such as hidden ones.

    """

    files: list[Place] = field(default_factory=list)
    folders: list[Place] = field(default_factory=list)
    left_out: int = 0


def part_of(name: str) -> str | None:
    """Return which of `PARTS` a folder or shard of this name is, or None."""
    return _PARTS.get(name.casefold())


def is_left_out(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, or made by a file manager."""
    return name.startswith(".") or name.casefold() in _LEFT_OUT


def walk(folder: Path, problems: Problems) -> Walk:
    """List a folder and all below it, sorted; follow symbolic links, but into no folder twice."""
    walker = _Walker(folder, problems)
    for place in walker.waiting:  # it grows: folders near the top come first
        walker.enter(place)
    walker.found.files.sort()
    return walker.found


class _Walker:
    """What is known while a folder is listed."""

    def __init__(self, top: Path, problems: Problems) -> None:
        self.top = top
        self.problems = problems
        self.found = Walk()
        self.waiting: list[Place] = [()]
        real = top.resolve()
        self.read = dict.fromkeys(real.parents, "a folder above") | {real: "the folder itself"}

    def enter(self, place: Place) -> None:
        """List one folder."""
        try:
            names = os.listdir(self.top.joinpath(*place))  # noqa: PTH208 - names are enough
        except OSError as error:
            self.problems.add(LAYOUT, f"{named(place)} may not be listed: {reason(error)}")
            return
        self.found.left_out += sum(map(is_left_out, names))
        for name in sorted(names):
            if not is_left_out(name):
                self.add((*place, name))

    def add(self, place: Place) -> None:
        """Add what is at `place` to the files or the folders, or say what is wrong with it."""
        path = self.top.joinpath(*place)
        try:
            path.stat()  # `kind` takes a link to nothing for nothing
            what = kind(path, follow=True)
        except OSError as error:
            self.problems.add(LAYOUT, f"{named(place)} {_why_not(path, error)}")
            return
        if what == FILE:
            self.found.files.append(place)
        elif what == FOLDER:
            self.add_folder(place, path.resolve())
        else:
            self.problems.add(LAYOUT, f"{named(place)} is {what}, not a file")

    def add_folder(self, place: Place, real: Path) -> None:
        """Have a folder listed, unless a link has led to one that is listed already."""
        if first := self.read.get(real):
            said = f"{named(place)} leads to {first}; each folder is read once"
            self.problems.add(LAYOUT, said)
            return
        self.read[real] = named(place)
        self.found.folders.append(place)
        self.waiting.append(place)


def _why_not(path: Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a symbolic link that leads to itself"
    if error.errno == errno.ENOENT and path.is_symlink():
        return f"is a symbolic link to nothing: {shown(str(path.readlink()))}"
    return f"may not be read: {reason(error)}"


def named(place: Place) -> str:
    """Return the printable name of a place, with slashes; `.` for the top."""
    return shown("/".join(place) or ".")
