"""A run of a stage: alone with its outputs, and over when the dvc that started it is.

A signal to dvc reaches nobody else, and a run that goes on by itself would write beside the next.
"""

import _thread
import errno
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import psutil

from thaw import STARTED_BY, ThawError
from thaw.places import FILE, check_output, make_folder

WAIT = 10.0
"""Seconds for a run whose dvc was ended to end, too, before the next one gives up."""
_LOOK = 0.5
"""Seconds between two looks."""
_GRACE = 5.0
"""Seconds to end in order, as after Ctrl-C. A kill loses nothing either."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""What file systems say that know no locks."""


@contextmanager
def alone(stage: str, folder: Path) -> Iterator[None]:
    """Hold the stage's lock, a file in `folder`, and watch who started this process.

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
        over = threading.Event()
        if "DVC_STAGE" in os.environ:
            threading.Thread(target=_end_with, args=(_ancestors(), over), daemon=True).start()
        try:
            yield
        finally:
            over.set()


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


def _ancestors() -> tuple[int, ...]:
    """Return dvc's process; before it the shell that dvc runs a command in, where that stays.

    bash and zsh become the one command that they are given, dash waits for it.
    """
    parent = os.getppid()
    with suppress(psutil.Error, OSError):
        shell = psutil.Process(parent)
        if shell.cmdline()[:1] == [os.environ.get("SHELL") or "/bin/sh"]:  # as dvc calls it
            return parent, shell.ppid()
    return (parent,)


def _is_orphaned(ancestors: tuple[int, ...]) -> bool:
    """Whether a process ended whose child this one is: its children then have another parent."""
    parent, *further = ancestors
    if not os.getppid() == parent == STARTED_BY:
        return True
    with suppress(psutil.Error, OSError):
        return bool(further) and psutil.Process(parent).ppid() != further[0]
    return False


def _end_with(ancestors: tuple[int, ...], over: threading.Event) -> None:
    """End this process once an ancestor has ended: as Ctrl-C does, or else at once."""
    while not _is_orphaned(ancestors):
        if over.wait(_LOOK):
            return
    with suppress(OSError, ValueError, AttributeError):
        print("\ndvc, which started this stage, has ended", file=sys.stderr, flush=True)
    _thread.interrupt_main()
    time.sleep(_GRACE)
    os._exit(130)
