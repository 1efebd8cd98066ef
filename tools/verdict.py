"""Compare the run with git's HEAD: python -m tools.verdict. `make repro` ends with it.

What this does not claim. Equal digests in dvc.lock prove the same results; anything else is a guess
by test accuracy, the one number of a mode that decides the answer. The interval of a difference is
computed from both accuracies and their 95 % Wilson half-widths, as the root of the sum of their
squares (Newcombe 1998, method 10, with symmetric halves). It takes the two runs for independent
samples. They are tested on the same images, so it is wider than a paired interval, for which the
committed predictions would be needed, and these are not in git. A real change that is smaller than
the interval goes unnoticed, and that the processor made the difference is not shown but likely:
code, settings and versions are the same.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thaw.report.results import MODES
from thaw.support.nested import flat
from thaw.support.yaml_file import parse_yaml
from tools.commands import outcome

LOCK = "dvc.lock"
KEEP = "git add dvc.lock metrics plots report && git commit -m 'My own results'"
GO_BACK = "git checkout HEAD -- . && dvc checkout --force --allow-missing"
"""Brings the committed results back from any state; tests/test_way_back.py tries it."""
Accuracy = tuple[float, float]
"""A test accuracy and half the width of its 95 % interval."""


def main() -> None:
    """Print the verdict."""
    print(verdict(Path()))


def verdict(root: Path) -> str:
    """Return what to say about the results in `root`."""
    names = (LOCK, *(f"metrics/{mode}.json" for mode in MODES))
    if not all((root / name).is_file() for name in names):
        return "There are no results yet: `dvc repro` makes them."
    mine = {name: (root / name).read_text(encoding="utf-8") for name in names}
    committed = {name: text for name in names if (text := committed_text(name, root)) is not None}
    if len(committed) < len(names):
        return "Nothing to compare with: git's HEAD has no results."
    own, theirs = (parse_yaml(of[LOCK], LOCK)["stages"] for of in (mine, committed))
    if changed := sorted(differing(inputs(own), inputs(theirs))):
        listed = "".join(f"\n  {name}" for name in changed)
        return f"Not compared with git's HEAD, whose results were made with other:{listed}"
    others = len(list(differing(outputs(own), outputs(theirs))))
    if not others:
        return "reproduced: all outputs are the committed ones, byte for byte."
    pairs = {mode: (accuracy(mode, mine), accuracy(mode, committed)) for mode in MODES}
    return "\n".join([*table(pairs), "", *judgement(pairs, others), "", *advice()])


def committed_text(name: str, root: Path) -> str | None:
    """Return a file of git's HEAD, or None where there is no git, no commit or no such file."""
    if shutil.which("git") is None:
        return None
    ended = outcome("git", "show", f"HEAD:./{name}", root=root)
    return ended.stdout if ended.returncode == 0 else None


def inputs(stages: Mapping[str, Any]) -> dict[str, object]:
    """Return what the results were made from: the digests of code and the params.

    The report is left out, because it computes no result. So are files that a stage wrote.
    """
    made = outputs(stages)
    found: dict[str, object] = {}
    for name, stage in stages.items():
        if name != "report":
            found |= {
                dep["path"]: dep["md5"] for dep in stage.get("deps", ()) if dep["path"] not in made
            }
            found |= flat(stage.get("params", {}).get("params.yaml", {}))
    return found


def outputs(stages: Mapping[str, Any]) -> dict[str, object]:
    """Return the digests of what the stages wrote, by path."""
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage.get("outs", ())}


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> Iterator[str]:
    """Yield the names that only one has, or whose values differ."""
    return (name for name in {**one, **other} if one.get(name) != other.get(name))


def accuracy(mode: str, texts: Mapping[str, str]) -> Accuracy:
    """Return the test accuracy of a mode."""
    of = json.loads(texts[f"metrics/{mode}.json"])[mode]
    return of["acc"], of["ci95"]


def difference(mine: Accuracy, committed: Accuracy) -> Accuracy:
    """Return mine minus committed, and half the width of its 95 % interval."""
    return mine[0] - committed[0], math.hypot(mine[1], committed[1])


def table(pairs: Mapping[str, tuple[Accuracy, Accuracy]]) -> Iterator[str]:
    """Yield the lines of the table of test accuracies."""
    yield "test accuracy    yours  committed  difference   95 % interval"
    for mode, (mine, committed) in pairs.items():
        by, half = difference(mine, committed)
        interval = f"{by - half:+.4f} to {by + half:+.4f}"
        yield f"{MODES[mode]:14}{mine[0]:8.4f}{committed[0]:11.4f}{by:+12.4f}   {interval}"


def judgement(pairs: Mapping[str, tuple[Accuracy, Accuracy]], others: int) -> Iterator[str]:
    """Yield the verdict on results of which `others` outputs have not the committed bytes."""
    beyond = []
    for mode, pair in pairs.items():
        by, half = difference(*pair)
        if abs(by) > half:
            beyond.append(MODES[mode])
    if beyond:
        yield f"differs: {', '.join(beyond)}, by more than the choice of test images explains."
    else:
        yield "reproduced within rounding of another processor: each interval includes 0."
        yield f"(It rests on these accuracies alone. Outputs with other bytes: {others}.)"


def advice() -> Iterator[str]:
    """Yield what to do with results that are not the committed ones."""
    yield f"Keep yours as the baseline of this machine:\n  {KEEP}"
    yield f"Or go back to the committed ones:\n  {GO_BACK}"


if __name__ == "__main__":
    main()
