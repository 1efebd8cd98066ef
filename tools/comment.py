"""What a pull request changes, as a comment: python3 tools/comment.py changes.json [--images URL].

Reads   changes.json  what `python -m tools.pr_comment BASE --json` wrote

A fork's code wrote that file, so every character of it may have been chosen to deceive. It is shown
in fences, in which GitHub makes no heading, image, link or mention. This runs where comments may be
written, from the default branch, with Python's own library alone.
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
"""The first line, by which the one comment is found again and updated in place."""
LABEL = (
    "> Made from this pull request's own files, by its own code. Nobody has checked what it says."
)
MOST = 65_536
"""Characters that GitHub takes; what `LONGEST` allows together, the plots included, is less."""
LONGEST = {"params": 6_000, "metrics": 9_000, "all_metrics": 26_000, "report": 9_000}
LONGEST |= {"gone": 1_500, "unnamed": 1_500, "again": 2_000}
MOST_LINES = 400
MOST_TICKS = 3
"""In a row within a fence, which has one more; of more, so many are shown."""
MOST_IMAGES = 12
MOST_BYTES = 10_000_000
"""Of the file that is read."""
PLOT = re.compile(r"plots/(?!.*\.\.)[A-Za-z0-9_./-]{1,80}\.png")
ADDRESS = re.compile(r"(https://[A-Za-z0-9_./-]{1,200}/)?")
REVISION = re.compile(r"[A-Za-z0-9_./-]{1,80}")


def render(changes: Mapping[str, Any], images: str = "") -> str:
    """Return the comment as Markdown.

    Args:
        changes: texts by the names of `LONGEST`, lists of paths under `plots` and `gone`, and the
            revision under `base`; whatever is none is left out.
        images: address that plots/ are shown from.

    """
    base = changes.get("base")
    against = f"Against `{base}`:" if isinstance(base, str) and REVISION.fullmatch(base) else ""
    all_metrics = fence(changes, "all_metrics")
    details = f"<details><summary>All metrics</summary>\n\n{all_metrics}\n\n</details>"
    parts = [
        *(MARKER, LABEL, against),
        *("### Params", fence(changes, "params") or "No param changed."),
        *("### Metrics", fence(changes, "metrics") or "No metric changed."),
        details if all_metrics else "",
        *("### Plots", "\n\n".join(plots(changes, images)) or "No plot changed."),
        *("### Report", fence(changes, "report") or "There is no report: run `dvc repro`."),
        *(run_again(changes) if "again" in changes else ()),
    ]
    text = "\n\n".join(part for part in parts if part)
    assert len(text) <= MOST
    return text


def run_again(changes: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a run of the commit gave."""
    yield "### Run again"
    differing = fence(changes, "again")
    yield (
        f"A run of this commit on the runner gives other bytes in:\n\n{differing}"
        if differing
        else "A run of this commit gives the committed bytes."
    )


def plots(changes: Mapping[str, Any], images: str) -> Iterator[str]:
    """Yield the changed and new images of plots/, and the names of all others."""
    changed = texts(changes.get("plots"))
    shown = [path for path in changed if PLOT.fullmatch(path)][:MOST_IMAGES]
    yield from (f"![{path}]({images}{path})" for path in shown)
    if others := [path for path in changed if path not in shown]:
        yield "Changed, too:\n\n" + fence({"unnamed": "\n".join(map(one_line, others))}, "unnamed")
    if gone := texts(changes.get("gone")):
        yield "Gone:\n\n" + fence({"gone": "\n".join(map(one_line, gone))}, "gone")


def texts(value: object) -> list[str]:
    """Return the texts of a list, none where it is no list."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def fence(changes: Mapping[str, Any], name: str) -> str:
    """Return a text in a fence that it cannot end, cut where it is too long, "" for none."""
    text = changes.get(name)
    if not isinstance(text, str) or not text.strip():
        return ""
    lines = clean(text[: LONGEST[name]]).strip("\n").split("\n")
    kept = "\n".join(lines[:MOST_LINES])[: LONGEST[name]]
    kept = re.sub(f"`{{{MOST_TICKS},}}", "`" * MOST_TICKS, kept)
    ticks = "`" * (MOST_TICKS + 1)
    cut = len(text) > LONGEST[name] or len(lines) > MOST_LINES or len(kept) == LONGEST[name]
    note = "\n\nCut here: there is more in the pull request's files." if cut else ""
    return f"{ticks}text\n{kept}\n{ticks}{note}"


def clean(text: str) -> str:
    """Return text in which nothing is hidden, turns the line around or stands above it.

    Control characters, marks that change the direction or take no room, accents without a letter
    and code points without a meaning are shown as their numbers.
    """
    whole = unicodedata.normalize("NFC", text.replace("\r\n", "\n")).replace("\t", "    ")
    return "".join(letter if _plain(letter) else f"\\u{ord(letter):04x}" for letter in whole)


def _plain(letter: str) -> bool:
    kind = unicodedata.category(letter)
    return letter == "\n" or not (kind[0] == "C" or kind in ("Zl", "Zp", "Mn", "Me"))


def one_line(text: str) -> str:
    """Return text without line breaks."""
    return text.replace("\r", "\\r").replace("\n", "\\n")


def main() -> None:
    """Print the comment of a file, or end with one message."""
    parser = argparse.ArgumentParser(prog="python3 tools/comment.py")
    parser.add_argument("changes", type=Path)
    parser.add_argument("--again", type=Path, help="what a run of the commit changed, a line each")
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
    """Return what a file holds, at most `MOST_BYTES`; end the process where that fails."""
    if path.is_symlink() or not path.is_file():
        sys.exit(f"error: {path} is no file")
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", errors="replace")


if __name__ == "__main__":
    main()
