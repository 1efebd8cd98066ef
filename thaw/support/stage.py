"""What every stage does around its work: report errors, print a summary, log the time.

Times go to `.thaw/timings.csv`, which git and DVC ignore: a metric would change with every run.
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
"""Variable that keeps a stage from printing its epochs if it is set: `make repro QUIET=1`."""

CHECK = "check"
"""The stage whose output DVC need not bring back."""

GOING_ON = "going on after epoch"
"""What training prints when it continues an interrupted run."""

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

    First the installed versions are compared with the locked ones. A user's mistake, a full disk or
    too little memory ends the process with one message and exit code 1. Ctrl-C ends it with 130.
    Any other error is a bug in thaw and keeps its traceback.

    Args:
        name: the stage, as in dvc.yaml.
        main: does the work and returns the summary.
        memory_needed: returns about how much memory the stage takes, in GB; 0 if unknown.

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
            f"error in stage {name}: the memory ran out.{needed} End other programs, or use a "
            f"smaller batch_size, microbatch_pixels or image_size. Received: {error}{_way_back()}"
        )


def _check_memory(name: str, needed: float) -> str:
    """Return a sentence on the memory that the stage takes; warn if less is free."""
    if not needed:
        return ""
    free = memory.available()
    takes = f" It takes about {needed:.1f} GB; {free:.1f} GB were free."
    if free < needed:
        print(
            f"warning: stage {name} may not have enough memory.{takes} If the system kills it, "
            "dvc only reports `exited with -9`.",
            file=sys.stderr,
            flush=True,
        )
    return takes


def _open_closed_streams() -> None:
    """Connect the streams that the shell closed (`>&-`) to the null device.

    Otherwise the next file that is opened gets the stream's number, and the messages of C libraries
    end up in it.
    """
    for name in ("stdin", "stdout", "stderr"):  # in this order, so that each gets its own number
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "w"))


def _deaf_output() -> str:
    """Return why standard output fails, or "" if it works and another file is the cause."""
    try:
        print(flush=True)
    except OSError as error:
        # Python flushes the stream once more at exit, and that would fail with a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return (
            f"standard output can no longer be written. Received: {error}. Redirect it elsewhere "
            "and run again."
        )
    return ""


def _way_back() -> str:
    """Return where a stage's old outputs are: DVC removes them before it runs the stage."""
    if os.environ.get("DVC_STAGE", CHECK) == CHECK:
        return ""
    return (
        "\nDVC's cache has the stage's last outputs: with the old params `dvc repro` restores them."
    )


def explain(error: OSError) -> str:
    """Return what a user can do about a file system error; any other error is raised again."""
    number = error.errno
    if number is None and "No space left on device" in str(error):  # h5py gives no number
        number = errno.ENOSPC
    where = f"{error.filename}: " if error.filename else ""
    if number == errno.EACCES:
        return f"{where}It may not be {_denied(error)}. Change the permissions. Received: {error}"
    if number not in _ENVIRONMENT_ERRORS:
        raise error
    return f"{where}{_ENVIRONMENT_ERRORS[number]} Received: {error}"


def _denied(error: OSError) -> str:
    """Return whether reading or writing was not permitted; the error itself does not say."""
    path = error.filename
    unreadable = path and os.path.lexists(path) and not os.access(path, os.R_OK)
    return "read" if unreadable else "written"


def _log_time(name: str, seconds: float) -> None:
    path = paths.PRIVATE / "timings.csv"
    if kind(path) not in (FILE, ""):
        return  # a missing time is no reason to lose the stage's result
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')},{name},{seconds:.1f}\n")
