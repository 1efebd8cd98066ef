"""From a folder to its pictures: what is there, of which class and part, all of it checked.

`read_pictures` decodes every file once. It keeps no pixels: whoever wants them takes them as they
come (`keep`), or decodes some again later (`PictureFiles.decode`).
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thaw.data.classes import (
    Layout,
    check_conflicts,
    check_counts,
    group,
    move_copies,
    read_layout,
)
from thaw.data.dataset import PARTS
from thaw.data.decoding import PictureError
from thaw.data.listing import Entry, Source, walk
from thaw.data.picture_files import Decoded, PictureFiles, decode_all
from thaw.data.problems import LAYOUT, UNREADABLE, Problems, shown
from thaw.data.shards import is_shard, read_class_names, read_shards
from thaw.support.errors import ThawError
from thaw.support.places import FOLDER, kind

Keep = Callable[[int, NDArray[np.uint8]], None]
"""Takes a picture's position and its canonical pixels (224, 224, 3) uint8."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of a folder that passed all checks.

    Attributes:
        files: their names, and how to decode them again.
        classes: the class names, in the order of the labels.
        labels: (n,) int64.
        groups: (n,) int64, equal for pictures with the same canonical pixels. They must stay in one
            part.
        parts: (n,) str, of `PARTS`; None where no parts are given. Parts that are missing among
            them are still to be drawn from train; each class has enough pictures there.
        gray: whether all pictures are gray.
        left_out: how many files and folders were left out, such as hidden ones.
        moved: how many pictures were moved to another part, since a copy was there.

    """

    files: PictureFiles
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    parts: NDArray[np.str_] | None
    gray: bool
    left_out: int
    moved: int

    def __len__(self) -> int:
        return len(self.files)

    @property
    def duplicates(self) -> int:
        """How many pictures are copies of others: there are this many fewer different ones."""
        return len(self) - len(np.unique(self.groups))


def read_pictures(folder: Path, keep: Keep | None = None) -> Pictures:
    """List, decode and check all pictures of a folder, on all cores.

    Pictures lie in `CLASS/` or in `PART/CLASS/`, where a part is train, validation (val, valid) or
    test, and in folders below these; or in tar files by WebDataset's convention. Symbolic links are
    followed. Hidden files and those of file managers are left out.

    Args:
        folder: where the pictures are.
        keep: called for each picture, in order, from this thread, so that nobody need decode twice.
            Positions count from 0 and are those of the result. It is not called again after the
            first problem. What it writes must go to a scratch file: the folder may yet be refused.

    Raises:
        ThawError: something is wrong; the message lists all that is, every file by name.

    """
    check_folder(folder)
    problems = Problems(folder)
    found = walk(folder, problems)
    names: tuple[str, ...] = ()
    if any(map(is_shard, found.files)):
        names = read_class_names(folder, problems)
        entries = read_shards(folder, found, names, problems)
    else:
        entries = [Entry(p, Source(folder.joinpath(*p)), "/".join(p)) for p in found.files]
    entries.sort(key=lambda entry: entry.name)
    if not entries and not problems:
        problems.add(LAYOUT, "there are no pictures")
    layout = read_layout(entries, found.folders, names, problems)
    decoded = _decode_checked(entries, keep, problems)
    parts = _check_content(entries, layout, decoded, problems)
    problems.check()
    digests = tuple(picture.digest for picture in decoded if picture)  # all are
    return Pictures(
        files=PictureFiles(
            folder,
            tuple(_writable(entry.name) for entry in entries),
            tuple(entry.source for entry in entries),
            digests,
        ),
        classes=layout.classes,
        labels=layout.labels,
        groups=group(digests),
        parts=np.array(PARTS)[parts] if layout.given else None,
        gray=all(picture.gray for picture in decoded if picture),
        left_out=found.left_out,
        moved=int((parts != layout.parts).sum()),
    )


def check_folder(folder: Path) -> None:
    """Check that there is a folder.

    Raises:
        ThawError: nothing is there, or a file.

    """
    found = kind(folder, follow=True)
    if found != FOLDER:
        raise ThawError(
            f"{shown(str(folder))} must be a folder of pictures. Received: "
            f"{found or 'nothing is there'}. Name a folder and run again."
        )


def _decode_checked(
    entries: Sequence[Entry], keep: Keep | None, problems: Problems
) -> list[Decoded | None]:
    """Decode all; return them without their pixels, which go to `keep`. None cannot be read."""
    decoded: list[Decoded | None] = []
    sources = [entry.source for entry in entries]
    with (
        closing(decode_all(sources, pixels=keep is not None)) as outcomes,
        tqdm(desc="decode", total=len(entries), unit="img", disable=None) as bar,
    ):
        for position, (entry, outcome) in enumerate(zip(entries, outcomes, strict=True)):
            bar.update()
            if isinstance(outcome, PictureError):
                problems.add(UNREADABLE, f"{shown(entry.name)} {shown(str(outcome))}")
                decoded.append(None)
                continue
            if keep is not None and outcome.pixels is not None and not problems:
                keep(position, outcome.pixels)
            decoded.append(replace(outcome, pixels=None))
    return decoded


def _check_content(
    entries: Sequence[Entry],
    layout: Layout,
    decoded: Sequence[Decoded | None],
    problems: Problems,
) -> NDArray[np.int64]:
    """Check the classes of what can be read; return its parts after copies are joined in one."""
    pairs = zip(decoded, layout.labels, strict=True)
    known = [i for i, (picture, label) in enumerate(pairs) if picture and label >= 0]
    groups = group([picture.digest for i in known if (picture := decoded[i])])
    labels, parts = layout.labels[known], move_copies(layout.parts[known], groups)
    check_conflicts([entries[i].name for i in known], labels, groups, problems)
    check_counts(layout, labels, parts, groups, problems)
    return parts


def _writable(name: str) -> str:
    """Return a name that can be written as UTF-8: Linux allows others."""
    return name.encode("utf-8", "backslashreplace").decode()
