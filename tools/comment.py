"""Print what a pull request changes, as a comment: python3 tools/comment.py CHANGES [--images URL].

Reads   CHANGES  the output of `python -m tools.pr_comment BASE --json`

That file was written by a fork's code, so all of it may be crafted to deceive. The comment shows it
inside code fences, where GitHub renders no heading, image, link or mention. This script runs with
permission to write comments. Therefore it comes from the default branch and uses only Python's
standard library.
"""

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MARKER = "<!-- thaw: what this changes -->"
"""The first line. The workflow finds the existing comment by it and updates it in place."""
LABEL = (
    "> Made from this pull request's own files, by its own code. Nobody has checked the content."
)
MOST = 65_536
"""The longest comment that GitHub accepts, in characters. `LONGEST` and the plots stay below it."""
LONGEST = {"params": 6_000, "metrics": 9_000, "report": 9_000}
LONGEST |= {"gone": 1_500, "unnamed": 1_500, "again": 2_000}
"""The largest number of characters shown of each text."""
MOST_LINES = 400
MOST_TICKS = 3
"""A longer row of backticks is shortened to this many. The fences have one more, so that no text
can close them."""
MOST_IMAGES = 12
MOST_BYTES = 10_000_000
"""The largest number of bytes read from a file."""
PLOT = re.compile(r"plots/(?!.*\.\.)[A-Za-z0-9_./-]{1,80}\.png")
ADDRESS = re.compile(r"(https://[A-Za-z0-9_./-]{1,200}/)?")
REVISION = re.compile(r"[A-Za-z0-9_./-]{1,80}")


def render(changes: Mapping[str, Any], images: str = "") -> str:
    """Return the comment as Markdown.

    Args:
        changes: texts under the names in `LONGEST`, lists of paths under `plots` and `gone`, and
            the revision under `base`. Entries of another type are left out.
        images: the address that the images of plots/ are shown from.

    """
    base = changes.get("base")
    against = f"Against `{base}`:" if isinstance(base, str) and REVISION.fullmatch(base) else ""
    parts = [
        *(MARKER, LABEL, against),
        *("### Params", fence(changes, "params") or "No param changed."),
        *("### Metrics", fence(changes, "metrics") or "There are no metrics."),
        *("### Plots", "\n\n".join(plots(changes, images)) or "No plot changed."),
        *("### Report", fence(changes, "report") or "There is no report: run `dvc repro`."),
        *(run_again(changes) if "again" in changes else ()),
    ]
    text = "\n\n".join(part for part in parts if part)
    assert len(text) <= MOST
    return text


def run_again(changes: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section about a second run of the commit."""
    yield "### Run again"
    differing = fence(changes, "again")
    yield (
        f"Running this commit on the CI runner gives different bytes in:\n\n{differing}"
        if differing
        else "Running this commit on the CI runner gives the committed bytes."
    )


def plots(changes: Mapping[str, Any], images: str) -> Iterator[str]:
    """Yield the changed and new images of plots/, and the names of those that are not shown."""
    changed = texts(changes.get("plots"))
    shown = [path for path in changed if PLOT.fullmatch(path)][:MOST_IMAGES]
    yield from (f"![{path}]({images}{path})" for path in shown)
    if others := [path for path in changed if path not in shown]:
        yield "Also changed:\n\n" + fence({"unnamed": "\n".join(map(one_line, others))}, "unnamed")
    if gone := texts(changes.get("gone")):
        yield "Gone:\n\n" + fence({"gone": "\n".join(map(one_line, gone))}, "gone")


def texts(value: object) -> list[str]:
    """Return the strings in a list, or nothing if `value` is not a list."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def fence(changes: Mapping[str, Any], name: str) -> str:
    """Return a text inside a code fence that it cannot close, or "" if there is no text.

    A text that is too long is cut, and a note says so.
    """
    text = changes.get(name)
    if not isinstance(text, str) or not text.strip():
        return ""
    # `clean` makes some characters longer, so the text is cut again after it.
    lines = clean(text[: LONGEST[name]]).strip("\n").split("\n")
    kept = "\n".join(lines[:MOST_LINES])[: LONGEST[name]]
    kept = re.sub(f"`{{{MOST_TICKS},}}", "`" * MOST_TICKS, kept)
    ticks = "`" * (MOST_TICKS + 1)
    cut = len(text) > LONGEST[name] or len(lines) > MOST_LINES or len(kept) == LONGEST[name]
    note = "\n\nCut here. The pull request's files have the rest." if cut else ""
    return f"{ticks}text\n{kept}\n{ticks}{note}"


def clean(text: str) -> str:
    """Return the text with every character visible and in its place.

    Control characters, marks that reverse the direction or have no width, combining accents that
    belong to no letter, and unassigned code points are shown as their numbers.
    """
    # NFC joins a letter and its accent into one character, so ordinary accents stay readable.
    whole = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).replace("\t", "    ")
    return "".join(letter if _plain(letter) else f"\\u{ord(letter):04x}" for letter in whole)


def _plain(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return letter == "\n" or not (kind[0] == "C" or kind in ("Zl", "Zp", "Mn", "Me"))


def one_line(text: str) -> str:
    """Return the text with its line breaks escaped."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def main() -> None:
    """Print the comment, or end with an error message."""
    parser = argparse.ArgumentParser(prog="python3 tools/comment.py")
    parser.add_argument("changes", type=Path)
    parser.add_argument("--again", type=Path, help="files that a run changed, one on a line")
    parser.add_argument("--images", default="", help="address that plots/ are shown from")
    options = parser.parse_args()
    if not ADDRESS.fullmatch(options.images):
        parser.error(f"--images must be https://.../ Received: {options.images}")
    try:
        changes = json.loads(read(options.changes))
    except (ValueError, RecursionError) as error:
        sys.exit(f"error: {options.changes} is not JSON: {error}")
    if not isinstance(changes, dict):
        sys.exit(f"error: {options.changes} must hold a JSON object")
    if options.again:
        changes["again"] = read(options.again)
    print(render(changes, options.images))


def read(path: Path) -> str:
    """Return up to `MOST_BYTES` of a file as text. If it is not a plain file, end the process."""
    # An archive from a fork may hold a link to any file of the runner.
    if path.is_symlink() or not path.is_file():
        sys.exit(f"error: {path} is not a regular file")
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", errors="replace")


if __name__ == "__main__":
    main()
