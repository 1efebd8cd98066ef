"""A lock for each stage: two runs at once would write the same files."""

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
"""Seconds to wait for the lock: a stage needs a few to end after its dvc was stopped."""
_LOOK = 0.2
"""Seconds between two tries."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""Errors of file systems that have no locks; the stage then runs without one."""


@contextmanager
def alone(stage: str, folder: Path) -> Iterator[None]:
    """Hold the stage's lock, a file in `folder`, while the block runs.

    If dvc ends meanwhile, the block is interrupted as by Ctrl-C, so that it can clean up.

    Raises:
        ThawError: another process holds the lock.

    """
    make_folder(folder)
    path = folder / stage
    check_output(path, FILE)
    # Mode "w" would erase the process id of whoever holds the lock.
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
                f"(kill {holder}), and run again: it continues where that one stopped."
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
