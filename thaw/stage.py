"""What every stage does around its work: errors without tracebacks, one line at the end, the time.

Times go to an ignored file, `.thaw/timings.csv`: in a metric they would differ at every run.
"""

import errno
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from thaw import ThawError, versions

PRIVATE = Path(".thaw")
"""Ignored by git and DVC: checkpoints of unfinished runs, timings."""
QUIET = "THAW_QUIET"
"""Set to anything, it leaves a stage's epochs unsaid: `make repro QUIET=1`."""

GOING_ON = "going on after epoch"
"""What training says where an interrupted run left its state."""

_ENVIRONMENT_ERRORS = {
    errno.ENOSPC: "There is no space left on the disk. Free some and run again.",
    errno.EDQUOT: "The disk quota is used up. Free some space and run again.",
    errno.EACCES: "It may not be written. Change the permissions and run again.",
    errno.EROFS: "The folder is read-only. Make it writable and run again.",
}


def run(name: str, main: Callable[[], str]) -> None:
    """Run a stage's `main` and print the summary line that it returns.

    First the installed versions are held to the locked ones, which the results would name. A
    user's mistake or a full disk ends the process with exit code 1 and one message, Ctrl-C with
    130; anything else is a bug of thaw's and keeps its traceback.
    """
    start = time.monotonic()
    try:
        versions.check(name)
        summary = main()
        seconds = time.monotonic() - start
        _log_time(name, seconds)
    except ThawError as error:
        sys.exit(f"error in stage {name}: {error}{_way_back()}")
    except OSError as error:
        sys.exit(f"error in stage {name}: {explain(error)}{_way_back()}")
    except KeyboardInterrupt:
        print(f"\nstage {name} was interrupted; run it again to go on", file=sys.stderr)
        sys.exit(130)
    print(f"{name}: {summary} ({seconds:.0f} s)", flush=True)


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
    if number not in _ENVIRONMENT_ERRORS:
        raise error
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{_ENVIRONMENT_ERRORS[number]} Received: {error}"


def _log_time(name: str, seconds: float) -> None:
    PRIVATE.mkdir(exist_ok=True)
    with (PRIVATE / "timings.csv").open("a", encoding="utf-8") as file:
        file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')},{name},{seconds:.1f}\n")
