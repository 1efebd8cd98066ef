"""A run of a stage, alone with its outputs: two at once would write the same files."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from thaw.support import parent
from thaw.support.errors import ThawError
from thaw.support.places import FILE, check_output, make_folder

WAIT = 10.0
"""Seconds for a run whose dvc was ended to end, too, before the next one gives up."""
_LOOK = 0.2
"""Seconds between two looks."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What file systems say that know no locks."""


@contextmanager
def alone(stage: str, folder: Path) -> Iterator[None]:
    """Hold the stage's lock, a file in `folder`; an interruption unwinds what runs meanwhile.

    Raises:
        ThawError: another process holds the lock.

    """
    make_folder(folder)
    path = folder / stage
    check_output(path, FILE)
    with path.open("a+", encoding="utf-8") as lock:
        _acquire(lock, stage)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        parent.UNWINDS.set()
        try:
            yield
        finally:
            parent.UNWINDS.clear()


def _acquire(lock: TextIO, stage: str) -> None:
    last = time.monotonic() + WAIT
    while not _locked(lock):
        if time.monotonic() > last:
            lock.seek(0)
            holder = lock.read()
            raise ThawError(
                f"another run of {stage} is going on in this folder, process {holder}; two would "
                "write the same files. Nothing was changed. Wait until it has ended, or end it "
                f"(kill {holder}), and run again: it goes on where that one stopped."
            )
        time.sleep(_LOOK)


def _locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True
