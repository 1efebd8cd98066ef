"""The dvc that started a stage: the stage ends with it, since a signal to dvc reaches nobody else.

Whoever set a time limit on dvc, or ended it, would find the stage at work for hours.
"""

import _thread
import os
import sys
import threading
import time
from contextlib import suppress

import psutil

UNWINDS = threading.Event()
"""Set while an interruption ends this process in order: before, there is nothing to tidy up."""
_LOOK = 0.5
"""Seconds between two looks."""
_GRACE = 5.0
"""Seconds to end in order, as after Ctrl-C. A kill loses nothing either."""


def watch() -> None:
    """End this process once the dvc that started it has ended."""
    threading.Thread(target=_end_with, args=(_ancestors(),), daemon=True).start()


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


def _came_late(ancestors: tuple[int, ...]) -> bool:
    """Whether dvc had ended before it was looked for, and a stranger is in its place.

    dvc, which Python runs, leaves its children in its own process group.
    """
    with suppress(psutil.Error, OSError):
        command = " ".join(psutil.Process(ancestors[-1]).cmdline())
        elsewhere = os.getpgid(ancestors[-1]) != os.getpgrp()
        return elsewhere and "python" not in command and "dvc" not in command
    return False


def _is_orphaned(ancestors: tuple[int, ...]) -> bool:
    """Whether a process ended whose child this one is: its children then have another parent."""
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
    with suppress(OSError, ValueError, AttributeError):
        print("\ndvc, which started this stage, has ended", file=sys.stderr, flush=True)
    if UNWINDS.is_set():
        _thread.interrupt_main()
        time.sleep(_GRACE)
    os._exit(130)
