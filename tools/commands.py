"""Run git and DVC as commands. An error or a warning of theirs ends the process with a message."""

import re
import subprocess
import sys
from pathlib import Path

DVC = (sys.executable, "-m", "dvc")
WARNED = re.compile(r"^(WARNING|ERROR): |^DVC failed ", re.MULTILINE)
"""What a problem looks like in DVC's output."""


def outcome(*command: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in `root`, or in the working folder, and return its exit status and output."""
    try:
        return subprocess.run(
            command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} was not found. Install it, or put it on PATH.")


def answer(*command: str, root: Path | None = None) -> str:
    """Return what a command prints. If it fails or warns, end the process with its message.

    A warning counts as a failure because DVC only warns about a file that it cannot read. It then
    continues as if the file did not exist, and exits with 0.
    """
    ended = outcome(*command, root=root)
    if ended.returncode or WARNED.search(ended.stderr):
        end(ended)
    return ended.stdout.strip()


def end(*ended: subprocess.CompletedProcess[str]) -> None:
    """End the process with the messages of the commands that failed."""
    sys.exit("\n".join(f"error: {_shown(each.args)}: {_said(each)}" for each in ended))


def _shown(command: tuple[str, ...]) -> str:
    # DVC is run as a module of this Python, but people know it as `dvc`.
    own = command[: len(DVC)] == DVC
    return " ".join(("dvc", *command[len(DVC) :]) if own else command)


def _said(ended: subprocess.CompletedProcess[str]) -> str:
    return ended.stderr.strip() or ended.stdout.strip() or f"ended with {ended.returncode}"


def git(*arguments: str, root: Path | None = None) -> str:
    """Return what git prints; see `answer`."""
    return answer("git", *arguments, root=root)


def dvc(*arguments: str, root: Path | None = None) -> str:
    """Return what DVC prints; see `answer`."""
    return answer(*DVC, *arguments, root=root)


def show_dvc(*arguments: str) -> None:
    """Run DVC with its output on the terminal. If it fails, end the process."""
    if subprocess.run((*DVC, *arguments), check=False).returncode:
        sys.exit(f"error: dvc {' '.join(arguments)} failed")
