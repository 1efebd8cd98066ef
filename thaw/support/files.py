"""Writing files and folders completely or not at all, and computing their digests."""

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
"""Prefix of unfinished files and folders. A kill may leave one, so git and DVC ignore them."""
_SPARE = 32_000_000
"""Bytes to leave free for what HDF5 writes besides the data."""


@contextmanager
def atomic_folder(folder: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield an empty folder that replaces `folder` once the block ends without an error.

    After an error `folder` is as it was before. A kill may leave it renamed, and `put_back` then
    restores it. With `durable` the same holds after a power cut, because the new files are flushed
    to the disk first.

    Raises:
        ThawError: `folder` is not a folder, or it holds something that the new one does not. thaw
            did not write that, so it must not be removed.

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
        if old.exists():  # left by a killed run
            shutil.rmtree(old)
        if folder.exists():
            folder.replace(old)
        scratch.replace(folder)
        if durable:
            _sync(folder.parent)  # a power cut after the removal must find the new name
        _discard(old)
    finally:
        _restore(folder)
        _discard(scratch)


def _sync(place: Path) -> None:
    """Wait until the disk holds a file's bytes or a folder's entries."""
    opened = os.open(place, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{SCRATCH}{folder.name}-old")


def put_back(folder: Path) -> None:
    """Restore the folder if `atomic_folder` was killed after it had renamed it.

    Raises:
        ThawError: something other than a folder is there.

    """
    # A link under either name is the user's: refuse it before anything is renamed.
    for place in (folder, _aside(folder)):
        check_output(place, FOLDER)
    _restore(folder)


def _restore(folder: Path) -> None:
    if _aside(folder).exists() and not folder.exists():
        _aside(folder).replace(folder)


def remove_folder(folder: Path) -> None:
    """Remove a folder of files if it exists; a kill never leaves a half-empty `folder`.

    Raises:
        ThawError: it is not a folder, or holds anything but files.

    """
    check_only(folder)
    if folder.exists():
        scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=folder.parent))
        # A rename is atomic, a removal is not.
        _discard(folder.replace(scratch))


def _discard(folder: Path) -> None:
    """Remove a folder. If that fails, only warn: the results are complete without it."""
    try:
        if folder.exists():
            shutil.rmtree(folder)  # does not follow links
    except OSError as error:
        print(f"warning: could not remove {folder}; remove it by hand: {error}", file=sys.stderr)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; its file replaces `path` once the block ends.

    The temporary name has the same suffixes, because Matplotlib chooses the format by them. After
    an error `path` is as it was before.

    Raises:
        ThawError: something other than a file is there.

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
    """Check that `size` bytes can be written to `folder`, which need not exist yet.

    HDF5 does not survive a full disk: it crashes the process when it closes the file. So check
    before writing.

    Raises:
        OSError: ENOSPC; the message gives the needed and the free space.

    """
    there = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < size + _SPARE:
        needed = f"{(size + _SPARE) / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free"
        raise OSError(errno.ENOSPC, needed, str(folder))


def _umask() -> int:
    # Python can only read the mask by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        ThawError: it is not a file, or reading is not permitted.

    """
    with check_input(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5(path: Path) -> str:
    """Return the MD5 of a file's bytes, in hexadecimal; Keras publishes this digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
