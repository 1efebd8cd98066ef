"""Check that DVC works in this folder: python -m tools.folder. `make repro` runs it first.

DVC 3.67 runs queued experiments, and those with --temp, in clones below the folder. It refers to
the clones by URLs that it does not escape, and in a file that it writes as ASCII. Some characters
in the path therefore make these experiments fail, usually before thaw's code runs, and then
`dvc queue logs` shows nothing. Braces in the path make every `dvc repro` fail, because DVC formats
its progress bar with the path as a template.
"""

import sys
from pathlib import Path

BRACES, OF_URLS = "{}", "#?"


def unfit(folder: Path) -> str:
    """Return the characters of a folder's path that make experiments in clones fail, each once."""
    found = [
        c for c in str(folder) if c in BRACES + OF_URLS or not (c.isascii() and c.isprintable())
    ]
    return "".join(dict.fromkeys(found))


def explain(folder: Path, characters: str) -> str:
    """Return a message: what works and what fails with these characters, and what to do."""
    works = "`dvc repro` and `dvc exp run` work here; `dvc exp run` with --queue or --temp and"
    if set(characters) & set(BRACES):
        works = "Neither `dvc repro` nor"
    return (
        f"DVC cannot run experiments in clones in a folder whose path has {characters!r}. "
        f"{works} `make study` do not. Allowed: ASCII characters except # ? {{ and }}. "
        f"Received: {str(folder)!r}. Move the project to another folder."
    )


def main() -> None:
    """Print what does not work in this folder. Exit with 1 if `dvc repro` does not."""
    folder = Path.cwd()
    if characters := unfit(folder):
        fatal = set(characters) & set(BRACES)
        print(f"{'error' if fatal else 'note'}: {explain(folder, characters)}", file=sys.stderr)
        sys.exit(1 if fatal else 0)


if __name__ == "__main__":
    main()
