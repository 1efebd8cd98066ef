"""End a stage when the dvc that started it has ended.

A signal to dvc does not reach the stage. Without this module, a stage would run on for hours after
dvc was stopped by the user or by a time limit.
"""

import _thread
import os
import sys
import threading
import time
from contextlib import suppress

import psutil

UNWINDS = threading.Event()
"""Set while an interruption must unwind the process; otherwise there is nothing to clean up."""
_LOOK = 0.5
"""Seconds between two checks."""
_GRACE = 5.0
"""Seconds to unwind, as after Ctrl-C. A kill after that loses nothing either."""


def watch() -> None:
    """End this process once the dvc that started it has ended."""
    threading.Thread(target=_end_with, args=(_ancestors(),), daemon=True).start()


def _ancestors() -> tuple[int, ...]:
    """Return dvc's process id, preceded by that of its shell if the shell still runs.

    dvc runs a command in a shell. bash and zsh replace themselves with a single command, but dash
    stays and waits for it.
    """
    parent = os.getppid()
    with suppress(psutil.Error, OSError):
        shell = psutil.Process(parent)
        if shell.cmdline()[:1] == [os.environ.get("SHELL") or "/bin/sh"]:  # how dvc starts it
            return parent, shell.ppid()
    return (parent,)


def _came_late(ancestors: tuple[int, ...]) -> bool:
    """Whether dvc had already ended, so that `ancestors` names an unrelated process.

    dvc runs in Python, and its children stay in its process group. An unrelated process has
    neither mark.
    """
    with suppress(psutil.Error, OSError):
        command = " ".join(psutil.Process(ancestors[-1]).cmdline())
        elsewhere = os.getpgid(ancestors[-1]) != os.getpgrp()
        return elsewhere and "python" not in command and "dvc" not in command
    return False


def _is_orphaned(ancestors: tuple[int, ...]) -> bool:
    """Whether an ancestor has ended: the system then gives its children another parent."""
    parent, *further = ancestors
    if os.getppid() != parent:
        return True
    with suppress(psutil.Error, OSError):
        return bool(further) and psutil.Process(parent).ppid() != further[0]
    return False


def _end_with(ancestors: tuple[int, ...]) -> None:
    ended = _came_late(ancestors)
    while not ended:
        time.sleep(_LOOK)
        ended = _is_orphaned(ancestors)
    # The stream may have been closed or lead nowhere, since dvc is gone.
    with suppress(OSError, ValueError, AttributeError):
        print("\ndvc, which started this stage, has ended", file=sys.stderr, flush=True)
    if UNWINDS.is_set():
        _thread.interrupt_main()
        time.sleep(_GRACE)
    os._exit(130)  # sys.exit would end only this thread
