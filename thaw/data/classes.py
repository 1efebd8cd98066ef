"""Which class and part each picture of a folder has, and whether there is enough of each."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thaw.data.dataset import PARTS
from thaw.data.listing import Entry, Place, part_of
from thaw.data.problems import CLASSES, CONFLICTS, LAYOUT, Problems, shown

_NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, halves of a character, and ends of lines."""


@dataclass(frozen=True)
class Layout:
    """How the folders of pictures are meant.

    Attributes:
        given: the positions in `PARTS` of the folders at the top; () if those are classes.
        classes: the class names, in the order of the labels.
        labels: (n,) int64, for each entry; -1 where its class is unknown.
        parts: (n,) positions in `PARTS`, int64; all 0 where none are given.

    """

    given: tuple[int, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    parts: NDArray[np.int64]


def read_layout(
    entries: Sequence[Entry], folders: Iterable[Place], names: Sequence[str], problems: Problems
) -> Layout:
    """Find the classes and parts in the places of pictures.

    Args:
        entries: the pictures.
        folders: the folders on disk, so that empty ones are noticed.
        names: class names in the wanted order; others come after them, sorted.
        problems: where problems go.

    """
    places = [entry.place for entry in entries]
    # The last name of a picture's place is its own; all others are folders.
    above = {place[:-1] for place in places} | set(folders)
    tops = {place[0] for place in above if place}
    parts_at_top = _are_parts(tops, problems)
    depth = 1 if parts_at_top else 0
    found = set() if parts_at_top is None else {p[depth] for p in above if len(p) > depth}
    order = {name: i for i, name in enumerate(names)}
    classes = tuple(sorted(found, key=lambda name: (order.get(name, len(order)), name)))
    _check_names(classes, problems)
    label_of = {name: label for label, name in enumerate(classes)}
    labels = np.full(len(places), -1, np.int64)
    parts = np.zeros(len(places), np.int64)
    for i, place in enumerate(places):
        if len(place) < depth + 2:
            problems.add(LAYOUT, f"{shown(entries[i].name)} lies in no folder of a class")
        elif found:
            labels[i] = label_of[place[depth]]
            parts[i] = _part_number(place[0]) if parts_at_top else 0
    given = tuple(sorted(set(map(_part_number, tops)))) if parts_at_top else ()
    return Layout(given, classes, labels, parts)


def _part_number(name: str) -> int:
    return PARTS.index(part_of(name) or "")


def _are_parts(tops: set[str], problems: Problems) -> bool | None:
    """Whether the folders at the top are parts, not classes; None if there are both."""
    parts = defaultdict(list)
    for name in sorted(tops):
        parts[part_of(name)].append(shown(name))
    classes = parts.pop(None, [])
    for part, twice in parts.items():
        if len(twice) > 1:
            problems.add(LAYOUT, f"{' and '.join(twice)} are the same part, {part}: join them")
    if not (classes and parts):
        return bool(parts)
    problems.add(
        LAYOUT,
        f"{_some([name for names in parts.values() for name in names])} and {_some(classes)} lie "
        "side by side: the first would be parts, the others classes. Move all classes into parts, "
        "or rename a class that is called as a part",
    )
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _check_names(classes: Sequence[str], problems: Problems) -> None:
    """Check that class names can be told apart and printed."""
    same = defaultdict(list)
    for name in classes:
        if not name.strip():
            problems.add(CLASSES, f"{name!a} is an empty name")
        elif any(unicodedata.category(c) in _NOT_IN_NAMES for c in name):
            problems.add(CLASSES, f"{name!a} has control characters, or is no Unicode")
        same[_compared(name)].append(name)
    for names in same.values():
        if len(names) > 1:
            problems.add(
                CLASSES,
                f"{' and '.join(map(ascii, names))} differ only in capitals, spaces or in how "
                "Unicode writes them",
            )


def _compared(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).strip()


def group(digests: Sequence[bytes]) -> NDArray[np.int64]:
    """Return a number for each digest, (n,) int64: equal ones get the same, first ones first."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def move_copies(parts: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the parts with all copies of a picture in one: the last of `PARTS` that has one.

    Otherwise the test, or the choice of an epoch, would be on pictures that were trained on.
    """
    last = np.zeros(groups.max(initial=0) + 1, np.int64)
    np.maximum.at(last, groups, parts)
    return last[groups]


def check_conflicts(
    names: Sequence[str], labels: NDArray[np.int64], groups: NDArray[np.int64], problems: Problems
) -> None:
    """Check that no picture is in two classes; `names` are those of the files."""
    first: dict[int, dict[int, int]] = defaultdict(dict)
    for i, (label, number) in enumerate(zip(labels, groups, strict=True)):
        first[number].setdefault(label, i)
    for positions in first.values():
        if len(positions) > 1:
            problems.add(CONFLICTS, " and ".join(shown(names[i]) for i in positions.values()))


def check_counts(
    layout: Layout,
    labels: NDArray[np.int64],
    parts: NDArray[np.int64],
    groups: NDArray[np.int64],
    problems: Problems,
) -> None:
    """Check that each class has a picture for each part, given or still to be drawn.

    Args:
        layout: the classes and the given parts.
        labels: (n,) of the pictures that can be read.
        parts: (n,) theirs, after `move_copies`.
        groups: (n,) equal for the same pictures, which count once.
        problems: where problems go.

    """
    if len(layout.classes) == 1:
        name = shown(layout.classes[0])
        problems.add(CLASSES, f"{name} is the only class; at least 2 are needed")
    there = layout.given or (0,)
    if 0 not in there:
        problems.add(LAYOUT, "there is no part to train on: no folder train")
        return
    counts = np.zeros((len(PARTS), len(layout.classes)), np.int64)
    label, part, _ = np.unique(np.stack([labels, parts, groups]), axis=1)
    np.add.at(counts, (part, label), 1)
    to_draw = len(PARTS) - len(there)
    for part_number in there:
        where = f" in {PARTS[part_number]}" if layout.given else ""
        least = 1 + to_draw if part_number == 0 else 1
        for name, count in zip(layout.classes, counts[part_number].tolist(), strict=True):
            if count < least:
                has = f"{shown(name)} has {_pictures(count)}{where}"
                problems.add(CLASSES, f"{has}; {_why(least)}")


def _pictures(count: int) -> str:
    return f"{count} different picture{'s' * (count > 1)}" if count else "no picture"


def _why(needed: int) -> str:
    if needed == 1:
        return "every part needs one of each class"
    return f"at least {needed} are needed, one for each part that is drawn"
