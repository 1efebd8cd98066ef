"""Pictures in tar files, by WebDataset's convention: `key.jpg` beside `key.cls`.

Source: https://github.com/webdataset/webdataset, and CLIP_benchmark for classnames.txt. DVC hashes
files one by one, so that many pictures are better kept in few files (dvc#7607).
"""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from thaw.data.decoding import PictureError
from thaw.data.listing import Entry, Place, Source, Walk, is_left_out, named, part_of
from thaw.data.problems import CLASSES, LAYOUT, Problems, reason, shown

CLASS_NAMES = "classnames.txt"
_LABEL = "cls"
_PICTURES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif")
_NOTES = (".txt", ".json", ".md")
"""Ends of files that may lie beside shards: nshards.txt, dataset_info.json, README.md."""
_BLOCK = 512
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


def is_shard(place: Place) -> bool:
    """Whether a file is a shard: a tar file at the top or in the folder of a part."""
    below_part = len(place) == 2 and part_of(place[0]) is not None
    return (len(place) == 1 or below_part) and place[-1].casefold().endswith(".tar")


def read_class_names(folder: Path, problems: Problems) -> tuple[str, ...]:
    """Return the class names in classnames.txt, one a line; none if there is no such file."""
    path = folder / CLASS_NAMES
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        problems.add(LAYOUT, f"{CLASS_NAMES} cannot be read: {reason(error)}")
        return ()
    except UnicodeDecodeError:
        problems.add(LAYOUT, f"{CLASS_NAMES} is not UTF-8")
        return ()
    return tuple(line.strip() for line in lines if line.strip())


def read_shards(
    folder: Path, found: Walk, names: tuple[str, ...], problems: Problems
) -> list[Entry]:
    """Return what the shards among `found` hold, and count there what they hold besides.

    Args:
        folder: the folder of the shards.
        found: all files in it; those beside the shards are problems, or left out.
        names: what classnames.txt says, or ().
        problems: where problems go.

    """
    entries: list[Entry] = []
    for place in found.files:
        if is_shard(place):
            shard = _Shard(folder, place, names, problems)
            entries += shard.entries()
            found.left_out += shard.left_out
        elif place[-1].endswith(_NOTES):
            found.left_out += place != (CLASS_NAMES,)
        else:
            problems.add(LAYOUT, f"{named(place)} lies beside tar files, and is none")
    return entries


class _Shard:
    """One tar file, while it is read."""

    def __init__(
        self, folder: Path, place: Place, names: tuple[str, ...], problems: Problems
    ) -> None:
        self.path = folder.joinpath(*place)
        self.name = "/".join(place)
        self.names = names
        self.problems = problems
        self.left_out = 0
        self.above: Place = place[:-1] or _part_in(place[0])

    def entries(self) -> list[Entry]:
        """Return the pictures, whether classes are folders or in members `key.cls`."""
        members = dict(self._members())
        if any(_suffix(place) == _LABEL for place in members):
            return list(self._labelled(members))
        return [self._entry(place, source, place) for place, source in members.items()]

    def _entry(self, place: Place, source: Source, member: Place) -> Entry:
        return Entry((*self.above, *place), source, "/".join((self.name, *member)))

    def _members(self) -> Iterator[tuple[Place, Source]]:
        """Yield the plain files, each once."""
        seen = set()
        try:
            with tarfile.open(self.path, "r:") as tar:
                for member in tar:
                    place = _place(member.name)
                    if member.isdir():
                        continue
                    if any(map(is_left_out, place)):
                        self.left_out += 1
                    elif member.type not in _PLAIN or member.sparse is not None:
                        self._wrong(place, "is a link or the like, not a file")
                    elif place in seen:
                        self._wrong(place, "is there twice")
                    else:
                        seen.add(place)
                        yield place, Source(self.path, member.offset_data, member.size)
                end = tar.offset
            self._check_end(end)
        except (tarfile.TarError, OSError, ValueError) as error:
            why = " ".join(str(error).split())
            self._wrong((), f"is no tar file, or cut off or damaged: {shown(why)}")

    def _check_end(self, offset: int) -> None:
        """Check that zeros follow: tarfile takes whatever else comes for the end, too."""
        with self.path.open("rb") as file:
            file.seek(offset)
            block = file.read(_BLOCK)
        if block != bytes(_BLOCK):
            self._wrong((), f"is cut off or damaged: no end of a tar file at byte {offset:,}")

    def _labelled(self, members: dict[Place, Source]) -> Iterator[Entry]:
        """Yield the pictures `key.jpg` with the classes that `key.cls` names."""
        labels = {_key(place): s for place, s in members.items() if _suffix(place) == _LABEL}
        pictures: dict[Place, Place] = {}
        for place, source in members.items():
            key = _key(place)
            if _suffix(place) not in _PICTURES:
                self.left_out += _suffix(place) != _LABEL
            elif key in pictures:
                self._wrong(place, f"has the key of {'/'.join(pictures[key])} in {self.name}")
            elif key not in labels:
                pictures[key] = place
                self._wrong(place, "has no class: the member of this name and .cls is missing")
            else:
                pictures[key] = place
                if name := self._class(labels[key], key):
                    yield self._entry((name, *place), source, place)
        for key in sorted(labels.keys() - pictures.keys()):
            self._wrong((*key[:-1], f"{key[-1]}.{_LABEL}"), "has no picture beside it")

    def _class(self, source: Source, key: Place) -> str:
        """Return the class that a member `key.cls` names or is the index of; "" if it is wrong."""
        try:
            text = source.read().decode().strip()
        except (PictureError, UnicodeDecodeError):
            text = ""
        if self.names and text.isdecimal() and int(text) < len(self.names):
            return self.names[int(text)]
        if not text or (self.names and text not in self.names):
            allowed = "an index or a name" + f" of {CLASS_NAMES}" * bool(self.names)
            label = (*key[:-1], f"{key[-1]}.{_LABEL}")
            received = shown(text[:50]) or "nothing readable"
            self._wrong(label, f"must hold {allowed}, but holds {received}", CLASSES)
            return ""
        return text

    def _wrong(self, place: Place, text: str, kind: str = LAYOUT) -> None:
        self.problems.add(kind, f"{named((self.name, *place))} {text}")


def _part_in(name: str) -> Place:
    """Return the part that a shard's name starts with: train-0001.tar, val.tar."""
    part = part_of(re.split(r"[-_.]", name)[0])
    return (part,) if part else ()


def _place(member: str) -> Place:
    """Return the names in a member's path; what would lead out of the tar file is dropped."""
    return tuple(part for part in PurePosixPath(member).parts if part not in ("/", "//", ".."))


def _key(place: Place) -> Place:
    return (*place[:-1], place[-1].split(".")[0])


def _suffix(place: Place) -> str:
    return place[-1].partition(".")[2].casefold() if place else ""
