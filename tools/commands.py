"""git and DVC run as commands: whatever they say is wrong ends the process with one message."""

import re
import subprocess
import sys
from pathlib import Path

DVC = (sys.executable, "-m", "dvc")
WARNED = re.compile(r"^(WARNING|ERROR): |^DVC failed ", re.MULTILINE)


def outcome(*command: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Return how a command ended, in `root` or here, with what it printed."""
    try:
        return subprocess.run(
            command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is not there: install it, or put it on PATH.")


def answer(*command: str, root: Path | None = None) -> str:
    """Return what a command prints; end the process where it fails or warns.

    Of a file that it cannot read, DVC warns, goes on as if it were not there and ends with 0.
    """
    ended = outcome(*command, root=root)
    if ended.returncode or WARNED.search(ended.stderr):
        end(ended)
    return ended.stdout.strip()


def end(*ended: subprocess.CompletedProcess[str]) -> None:
    """End the process with what commands said that did not do what they were run for."""
    sys.exit("\n".join(f"error: {_shown(each.args)}: {_said(each)}" for each in ended))


def _shown(command: tuple[str, ...]) -> str:
    own = command[: len(DVC)] == DVC
    return " ".join(("dvc", *command[len(DVC) :]) if own else command)


def _said(ended: subprocess.CompletedProcess[str]) -> str:
    return ended.stderr.strip() or ended.stdout.strip() or f"ended with {ended.returncode}"


def git(*arguments: str, root: Path | None = None) -> str:
    """Return what git prints, as `answer` does."""
    return answer("git", *arguments, root=root)


def dvc(*arguments: str, root: Path | None = None) -> str:
    """Return what DVC prints, as `answer` does."""
    return answer(*DVC, *arguments, root=root)


def show_dvc(*arguments: str) -> None:
    """Run DVC before everyone's eyes; end the process where it fails, after what it said."""
    if subprocess.run((*DVC, *arguments), check=False).returncode:
        sys.exit(f"error: dvc {' '.join(arguments)} failed")
