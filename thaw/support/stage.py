"""What every stage does around its work: errors without tracebacks, one line at the end, the time.

Times go to an ignored file, `.thaw/timings.csv`: in a metric they would differ at every run.
"""

import errno
import os
import sys
import time
from collections.abc import Callable

from thaw.support import memory, paths, versions
from thaw.support.errors import ThawError
from thaw.support.places import FILE, kind
from thaw.support.process import alone

QUIET = "THAW_QUIET"
"""Set to anything, it leaves a stage's epochs unsaid: `make repro QUIET=1`."""

GOING_ON = "going on after epoch"
"""What training says where an interrupted run left its state."""

_ENVIRONMENT_ERRORS = {
    errno.ENOSPC: "There is no space left on the disk. Free some and run again.",
    errno.EDQUOT: "The disk quota is used up. Free some space and run again.",
    errno.ENOMEM: "There is too little memory. End other programs and run again.",
    errno.EROFS: "The folder is read-only. Make it writable and run again.",
    **dict.fromkeys(
        (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP),
        "There is a folder where a file should be, a file where a folder should be, or a link that "
        "leads nowhere. Move it elsewhere and run again.",
    ),
}


def run(
    name: str, main: Callable[[], str], memory_needed: Callable[[], float] = lambda: 0.0
) -> None:
    """Run a stage's `main` and print the summary line that it returns.

    `memory_needed` returns about how many GB the stage takes, 0 where nobody knows.

    First the installed versions are held to the locked ones, which the results would name. A
    user's mistake, a full disk or too little memory ends the process with exit code 1 and one
    message, Ctrl-C with 130; anything else is a bug of thaw's and keeps its traceback.
    """
    start = time.monotonic()
    _open_closed_streams()
    try:
        versions.check(name)
        needed = _check_memory(name, memory_needed())
        with alone(name, paths.PRIVATE / "locks"):
            summary = main()
            seconds = time.monotonic() - start
            _log_time(name, seconds)
        print(f"{name}: {summary} ({seconds:.0f} s)", flush=True)
    except ThawError as error:
        sys.exit(f"error in stage {name}: {error}{_way_back()}")
    except OSError as error:
        sys.exit(f"error in stage {name}: {_deaf_output() or explain(error)}{_way_back()}")
    except KeyboardInterrupt:
        print(f"\nstage {name} was interrupted; run it again to go on", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not memory.ran_out(error):
            raise
        sys.exit(
            f"error in stage {name}: the memory ran out.{needed} End other programs, or take a "
            f"smaller batch_size, microbatch_pixels or image_size. Received: {error}{_way_back()}"
        )


def _check_memory(name: str, needed: float) -> str:
    """Return how much memory the stage takes; say it where there is less."""
    if not needed:
        return ""
    free = memory.available()
    takes = f" It takes about {needed:.1f} GB; {free:.1f} GB were free."
    if free < needed:
        print(
            f"warning: stage {name} may not have enough memory.{takes} If the system ends it for "
            "that, dvc says no more than `exited with -9`.",
            file=sys.stderr,
            flush=True,
        )
    return takes


def _open_closed_streams() -> None:
    """Let what the shell closed (`>&-`) lead to nothing.

    Else a file of results would get the number, and what a library written in C says into it.
    """
    for name in ("stdin", "stdout", "stderr"):  # so that each gets its number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w"))


def _deaf_output() -> str:
    """Return why nothing more can be printed, "" where it can: then another file is the cause."""
    try:
        print(flush=True)
    except OSError as error:
        # Or Python would try once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return (
            f"what it prints can be written no more. Received: {error}. Let standard output lead "
            "elsewhere and run again."
        )
    return ""


def _way_back() -> str:
    """Say where a stage's old outputs are: DVC takes them away before it runs the stage."""
    if "DVC_STAGE" not in os.environ:
        return ""
    return (
        "\nIf this stage had outputs, DVC put them aside before it ran. Nothing is lost: with the "
        "old params `dvc repro` brings them back from its cache."
    )


def explain(error: OSError) -> str:
    """Return what a user can do about an error of the disk; others are raised again."""
    number = error.errno
    if number is None and "No space left on device" in str(error):  # as h5py words it
        number = errno.ENOSPC
    where = f"{error.filename}: " if error.filename else ""
    if number == errno.EACCES:
        return f"{where}It may not be {_denied(error)}. Change the permissions. Received: {error}"
    if number not in _ENVIRONMENT_ERRORS:
        raise error
    return f"{where}{_ENVIRONMENT_ERRORS[number]} Received: {error}"


def _denied(error: OSError) -> str:
    """Return what the system did not allow: its error does not say."""
    path = error.filename
    unreadable = path and os.path.lexists(path) and not os.access(path, os.R_OK)
    return "read" if unreadable else "written"


def _log_time(name: str, seconds: float) -> None:
    path = paths.PRIVATE / "timings.csv"
    if kind(path) not in (FILE, ""):
        return  # no reason to lose what is done
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')},{name},{seconds:.1f}\n")
