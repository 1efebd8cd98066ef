"""Writing files whole or not at all, and naming them by what is in them."""

import csv
import errno
import hashlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from thaw.support.errors import ThawError
from thaw.support.nested import flat
from thaw.support.places import (
    FILE,
    FOLDER,
    check_input,
    check_only,
    check_output,
    check_replaceable,
    make_folder,
)

SCRATCH = ".thaw-tmp-"
"""What unfinished files and folders begin with; ignored by git and DVC, should a kill leave one."""
DAMAGED_HDF5 = (OSError, LookupError, TypeError, ValueError, RuntimeError, AttributeError)
"""What h5py raises for a file that is damaged, or laid out otherwise than expected."""
_SPARE = 32_000_000
"""Bytes that are left free, for what HDF5 writes around the data."""
METRIC_DIGITS = 4
"""Digits behind the point of every fraction and loss in `metrics/` (accuracy on 10,000 images
has four)."""


@contextmanager
def atomic_folder(folder: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield an empty folder that takes `folder`'s place once the block ends without an error.

    After an error `folder` is as it was before. After a kill, too, but that it may be away:
    `put_back` brings it. After a power cut, too, where it is to be `durable`: it then waits for
    the disk.

    Raises:
        ThawError: `folder` is no folder, or holds what the new one does not: that is not thaw's.

    """
    make_folder(folder.parent)
    put_back(folder)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
    old = _aside(folder)
    try:
        scratch.chmod(0o777 & ~_umask())
        yield scratch
        for place in (old, folder):
            check_replaceable(place, scratch)
        for place in (*scratch.iterdir(), scratch) if durable else ():
            _sync(place)
        if old.exists():  # a killed run's
            shutil.rmtree(old)
        if folder.exists():
            folder.replace(old)
        scratch.replace(folder)
        if durable:
            _sync(folder.parent)  # before the old one is removed
        _discard(old)
    finally:
        _restore(folder)
        _discard(scratch)


def _sync(place: Path) -> None:
    """Return when the disk has a file's bytes, or a folder's names."""
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{SCRATCH}{folder.name}-old")


def put_back(folder: Path) -> None:
    """Bring back the folder that `atomic_folder` had put aside when it was killed."""
    for place in (folder, _aside(folder)):
        check_output(place, FOLDER)
    _restore(folder)


def _restore(folder: Path) -> None:
    if _aside(folder).exists() and not folder.exists():
        _aside(folder).replace(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder of files, should it be there; a kill leaves no part of it under its name.

    Raises:
        ThawError: it is no folder, or holds anything but files.

    """
    check_only(folder)
    if folder.exists():
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
        _discard(folder.replace(scratch))


def _discard(folder: Path) -> None:
    """Remove a folder; say so where that cannot be done, which is no reason to stop."""
    try:
        if folder.exists():
            shutil.rmtree(folder)  # which follows no link
    except OSError as error:
        print(f"warning: {folder} is left, remove it by hand: {error}", file=sys.stderr)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`, of the same suffixes, that replaces it once the block ends.

    After an error `path` is as it was before.

    Raises:
        ThawError: there is something else than a file.

    """
    make_folder(path.parent)
    scratch = path.with_name(f"{SCRATCH}{os.getpid()}-{path.name}")
    for place in (path, scratch):
        check_output(place, FILE)
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def require_space(folder: Path, size: int) -> None:
    """Check that `size` bytes can be written to `folder`, which need not be there yet.

    HDF5 does not survive a full disk: it crashes the process while it closes the file. So ask
    first.

    Raises:
        OSError: ENOSPC, with what is needed and what is free.

    """
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < size + _SPARE:
        needed = f"{(size + _SPARE) / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, needed, str(folder))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as sorted, indented JSON; floats are rounded to `METRIC_DIGITS`."""
    text = json.dumps(_rounded(content), indent=2, sort_keys=True, allow_nan=False)
    with atomic_file(path) as scratch:
        scratch.write_text(text + "\n")


def _rounded(value: Any) -> Any:
    """Return `value` with the floats in it rounded, however deep mappings lie in one another."""
    if isinstance(value, Mapping):
        return {name: _rounded(inner) for name, inner in value.items()}
    return round(value, METRIC_DIGITS) if isinstance(value, float) else value


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`.

    Raises:
        ThawError: the file is missing or holds no JSON object, or a number that is not finite.

    """
    try:
        content = json.loads(check_input(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ThawError(f"{path} cannot be read as JSON: {error}. {remedy()}") from error
    if not isinstance(content, dict):
        raise ThawError(f"{path} must hold a JSON object. Received: {content!r}. {remedy()}")
    for name, value in flat(content):
        if isinstance(value, float) and not math.isfinite(value):
            raise ThawError(f"{path}: {name} must be finite. Received: {value}. {remedy()}")
    return content


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with one header line; floats are written as they are given."""
    with atomic_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path, otherwise: str = "") -> list[dict[str, str]]:
    """Return a table's rows by column name.

    Args:
        path: of the table.
        otherwise: what to do where it is damaged; `remedy` where nothing else is said.

    Raises:
        ThawError: the file is missing, is not text, or has a line of another length.

    """
    try:
        with check_input(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ThawError(
            f"{path} cannot be read as CSV: {error}. {otherwise or remedy()}"
        ) from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():  # too long, too short
            raise ThawError(
                f"{path} must have a value for each column of its header. Received in row "
                f"{number}: {','.join(map(str, row.values()))}. {otherwise or remedy()}"
            )
    return rows


def remedy() -> str:
    """What brings back a damaged file that a stage made."""
    return (
        "Run `dvc repro` to make it again. If DVC takes it for unchanged, its own copy may be "
        "damaged, too: `python -m tools.verify_cache` names it and what replaces it."
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        ThawError: it is no file, or may not be read.

    """
    with check_input(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: Path) -> str:
    """Return the MD5 of a file's bytes, in hexadecimal, by which Keras names its files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
