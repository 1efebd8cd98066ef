"""A pull request's comment: python -m tools.pr_comment BASE [--images URL] > comment.md.

What the working tree changes against a git revision: params, metrics, plots, and the report's
summary. Prints Markdown; posts nothing.
"""

import argparse
import subprocess
import sys
from pathlib import Path

MARKER = "<!-- thaw: what this changes -->"
"""The first line, by which the one comment is found again and updated in place."""
MOST_IMAGES = 12
HEADER = 2
"""Lines of a table that says nothing: DVC prints them all the same."""
REPORT = Path("report/report.md")


def main() -> None:
    """Print the comment, or end with one message."""
    parser = argparse.ArgumentParser(prog="python -m tools.pr_comment")
    parser.add_argument("base", help="what to compare with: a branch, tag or commit")
    parser.add_argument("--images", default="", help="address that plots/ are shown from")
    options = parser.parse_args()
    check_base(options.base)
    print(comment(options.base, options.images))


def check_base(base: str) -> None:
    """End the process where there is no such commit."""
    if run("git", "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}", check=False):
        return
    if run("git", "rev-parse", "--is-shallow-repository", check=False) == "true":
        sys.exit(
            f"error: {base} is not in this clone, which is shallow. Fetch the history: git fetch "
            "--unshallow, or fetch-depth: 0 in actions/checkout."
        )
    sys.exit(
        f"error: there is no commit to compare with. Allowed: a branch, tag or commit of this "
        f"repository. Received: {base}. See `git branch --all`."
    )


def comment(base: str, images: str) -> str:
    """Return the comment as Markdown."""
    parts = [
        MARKER,
        f"Against `{base}`:",
        section("Params", dvc_diff("params", base), "No param changed."),
        section("Metrics", dvc_diff("metrics", base), "No metric changed."),
        all_metrics(base),
        section("Plots", changed_plots(base, images), "No plot changed."),
        section("Report", summary(), "There is no report: run `dvc repro`."),
    ]
    return "\n\n".join(part for part in parts if part)


def section(title: str, body: str, otherwise: str) -> str:
    """Return a heading and what stands below it."""
    return f"### {title}\n\n{body or otherwise}"


def dvc_diff(kind: str, base: str, *options: str) -> str:
    """Return what `dvc params diff` or `dvc metrics diff` says, "" where nothing changed."""
    table = run(sys.executable, "-m", "dvc", kind, "diff", base, "--md", *options)
    return table if len(table.splitlines()) > HEADER else ""


def all_metrics(base: str) -> str:
    """Return every metric, changed or not, folded away."""
    table = dvc_diff("metrics", base, "--all")
    return table and f"<details><summary>All metrics</summary>\n\n{table}\n\n</details>"


def changed_plots(base: str, images: str) -> str:
    """Return the changed and new images of plots/, those that are gone by name."""
    lines = run("git", "diff", "--no-renames", "--name-status", base, "--", "plots/*.png")
    new = run("git", "ls-files", "--others", "--exclude-standard", "--", "plots/*.png")
    changes = [line.split("\t") for line in lines.splitlines()]
    shown = [path for state, path in changes if state != "D"] + new.splitlines()
    parts = [f"![{path}]({images}{path})" for path in shown[:MOST_IMAGES]]
    if len(shown) > MOST_IMAGES:
        parts.append(f"And {len(shown) - MOST_IMAGES} more: {', '.join(shown[MOST_IMAGES:])}")
    gone = [path for state, path in changes if state == "D"]
    if gone:
        parts.append(f"Gone: {', '.join(gone)}")
    return "\n\n".join(parts)


def summary() -> str:
    """Return report.md through its comparison table, its headings two levels down."""
    if not REPORT.is_file():
        return ""
    text = REPORT.read_text(encoding="utf-8").strip()
    sections = text.split("\n## ")
    kept = "\n## ".join(sections[:2])
    return "\n".join(f"##{line}" if line.startswith("#") else line for line in kept.splitlines())


def run(*command: str, check: bool = True) -> str:
    """Return what a command prints; end the process with its message where it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and ended.returncode:
        sys.exit(f"error: {' '.join(command[-4:])} failed: {ended.stderr.strip()}")
    return ended.stdout.strip()


if __name__ == "__main__":
    main()
