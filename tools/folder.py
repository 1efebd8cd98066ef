"""Whether DVC works in this folder: python -m tools.folder, which `make repro` asks first.

DVC 3.67 runs queued experiments, and those with --temp, in clones beneath the folder. It names
these by URLs that it does not escape, and by a file that it writes as ASCII; so they fail, in most
cases before any of thaw's code runs, and `dvc queue logs` has nothing to tell. Braces in the path
make any `dvc repro` fail, since DVC takes them for places in its progress bar.
"""

import sys
from pathlib import Path

BRACES, OF_URLS = "{}", "#?"


def unfit(folder: Path) -> str:
    """Return the characters of a folder's path with which experiments in clones fail."""
    found = [
        c for c in str(folder) if c in BRACES + OF_URLS or not (c.isascii() and c.isprintable())
    ]
    return "".join(dict.fromkeys(found))


def explain(folder: Path, characters: str) -> str:
    """Return what does not work in a folder with these characters, what does, and the way out."""
    works = "`dvc repro` and `dvc exp run` work here; `dvc exp run` with --queue or --temp and"
    if set(characters) & set(BRACES):
        works = "Neither `dvc repro` nor"
    return (
        f"DVC cannot run experiments in clones in a folder whose path has {characters!r}. "
        f"{works} `make study` do not. Allowed: ASCII characters except # ? {{ and }}. "
        f"Received: {str(folder)!r}. Move the project to another folder."
    )


def main() -> None:
    """Say what does not work here; end with 1 where `dvc repro` is among it."""
    folder = Path.cwd()
    if characters := unfit(folder):
        fatal = set(characters) & set(BRACES)
        print(f"{'error' if fatal else 'note'}: {explain(folder, characters)}", file=sys.stderr)
        sys.exit(1 if fatal else 0)


if __name__ == "__main__":
    main()
