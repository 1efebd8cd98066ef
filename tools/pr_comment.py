"""Print a pull request's comment: python -m tools.pr_comment BASE [--images URL | --json].

The comment shows what the working tree changes against a git revision: params, metrics, plots and
the report's summary. It is printed as Markdown, or with --json as the input of tools.comment, which
turns it into Markdown. Nothing is posted.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tools.commands import dvc, git, outcome
from tools.comment import LONGEST, render

REPORT = Path("report/report.md")
PLOTS = "plots/*.png"


def main() -> None:
    """Print the comment, or end with an error message."""
    parser = argparse.ArgumentParser(prog="python -m tools.pr_comment")
    parser.add_argument("base", help="what to compare with: a branch, tag or commit")
    parser.add_argument("--images", default="", help="address that plots/ are shown from")
    parser.add_argument("--json", action="store_true", help="print what tools.comment reads")
    options = parser.parse_args()
    check_base(options.base)
    found = changes(options.base)
    print(json.dumps(found) if options.json else render(found, options.images))


def check_base(base: str) -> None:
    """End the process with a message if there is no commit called `base`."""
    # git would take a name that begins with a dash for an option.
    if not base.startswith("-"):
        named = outcome("git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
        if named.returncode == 0:
            return
    if git("rev-parse", "--is-shallow-repository") == "true":
        sys.exit(
            f"error: {base} is not in this clone, which is shallow. Fetch the history with `git "
            "fetch --unshallow`, or set fetch-depth: 0 for actions/checkout."
        )
    sys.exit(
        f"error: there is no commit to compare with. Allowed: a branch, tag or commit of this "
        f"repository. Received: {base}. See `git branch --all`."
    )


def changes(base: str) -> dict[str, Any]:
    """Return the changes against `base` in the form that `tools.comment.render` takes."""
    return {
        "base": base,
        "params": table("params", base),
        "metrics": table("metrics", base, "--all"),
        "plots": [*plots(base, "d"), *new_plots()],
        "gone": plots(base, "D"),
        "report": summary(),
    }


def table(kind: str, base: str, *options: str) -> str:
    """Return the table of `dvc params diff` or `dvc metrics diff`, or "" if it has no rows.

    Args:
        kind: `params` or `metrics`.
        base: the revision to compare with.
        options: further options for DVC.

    """
    lines = dvc(kind, "diff", base, "--md", *options).splitlines()
    header, rows = lines[:2], sorted(lines[2:])  # DVC gives the files in any order
    return "\n".join(header + rows) if rows else ""


def plots(base: str, kind: str) -> list[str]:
    """Return the images of plots/ that changed.

    Args:
        base: the revision to compare with.
        kind: git's --diff-filter: "D" for deleted files, "d" for all others.

    """
    # git quotes unusual names unless -z is given.
    options = ("--no-renames", "--name-only", "-z", f"--diff-filter={kind}")
    return listed(git("diff", *options, base, "--", PLOTS))


def new_plots() -> list[str]:
    """Return the images of plots/ that git does not track yet, which `git diff` leaves out."""
    return listed(git("ls-files", "-z", "--others", "--exclude-standard", "--", PLOTS))


def listed(names: str) -> list[str]:
    """Return the names in git's output, which -z ends with a zero byte each."""
    return [name for name in names.split("\0") if name]


def summary() -> str:
    """Return report.md up to the fold in its first section, or "" if there is no such file."""
    # A pull request may turn the file into a link to any file of the runner.
    if not REPORT.is_file() or REPORT.is_symlink():
        return ""
    with REPORT.open(encoding="utf-8", errors="replace") as file:
        text = file.read(10 * LONGEST["report"]).strip()
    return "\n## ".join(text.split("\n## ")[:2]).split("\n<details>")[0].rstrip()


if __name__ == "__main__":
    main()
