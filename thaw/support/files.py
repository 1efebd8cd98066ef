"""Writing files and folders whole or not at all, and naming files by what is in them."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
_SPARE = 32_000_000
"""Bytes that are left free, for what HDF5 writes around the data."""


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
