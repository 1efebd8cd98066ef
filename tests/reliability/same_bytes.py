"""The same bytes wherever it runs: python -m tests.reliability.same_bytes [NAME ..].

All stages of a tiny project are run once, and again in each condition; git must see no change,
dvc.lock included, which holds the digest of every output.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability.project import Project, create
from tools.commands import DVC

FOLDER = "another folder, with blanks"


@dataclass(frozen=True)
class Condition:
    """What is different when everything runs again."""

    prefix: tuple[str, ...] = ()
    """Put before the command."""
    environment: Mapping[str, str] = field(default_factory=dict)
    clone: bool = False
    """Into a folder and a home of its own, with an empty cache."""
    load: int = 0
    """Processes that keep the processors busy."""


PROCESSORS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
"""That this process may use, by number; none where the system has no such notion."""


def on(count: int) -> tuple[str, ...]:
    """Return what makes a command run on so many of them."""
    return ("taskset", "--cpu-list", ",".join(map(str, PROCESSORS[:count])))


OTHER_UMASK = ("sh", "-c", 'umask 077 && exec "$@"', "sh")
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
CONDITIONS = {
    "once more": Condition(),
    "1 processor": Condition(on(1)),
    "2 processors": Condition(on(2)),
    "under load": Condition(load=4),
    "a locale without UTF-8": Condition(environment=ASCII),
    "another time zone": Condition(environment={"TZ": "Pacific/Kiritimati"}),
    "another umask": Condition(OTHER_UMASK),
    "a fresh clone in another folder and home": Condition(clone=True),
    "all at once": Condition(
        (*on(1), *OTHER_UMASK),
        {**ASCII, "TZ": "Pacific/Kiritimati"},
        clone=True,
        load=1,
    ),
}


def difference(project: Project, condition: Condition) -> str:
    """Run everything again in a condition; return what git then sees changed, "" for nothing."""
    with ExitStack() as stack:
        stack.enter_context(_load(condition.load))
        changes = dict(condition.environment)
        if condition.clone:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "home").mkdir()
            changes |= {"HOME": str(folder / "home")}
            project.run("git", "clone", "--quiet", str(project.root), str(folder / FOLDER))
            project = Project(folder / FOLDER)
        project.run(*condition.prefix, *DVC, "repro", "--force", changes=changes)
        return project.changed()


@contextmanager
def _load(processes: int) -> Iterator[None]:
    busy = [subprocess.Popen((sys.executable, "-c", "while True: pass")) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def usable() -> dict[str, Condition]:
    """Return the conditions that this machine can give."""
    few = len(PROCESSORS) if shutil.which("taskset") else 0
    out = {"2 processors"} if few < 2 else set()
    return {
        name: condition
        for name, condition in CONDITIONS.items()
        if name not in out and (few or "taskset" not in condition.prefix)
    }


def main() -> None:
    """Print a line for each condition; end with 1 where the bytes differ."""
    chosen = usable()
    if unknown := set(sys.argv[1:]) - set(chosen):
        sys.exit(f"error: no such condition. Received: {', '.join(unknown)}. Take: {list(chosen)}")
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        project = create(Path(folder))
        project.reproduce()
        print("| Run again | Bytes |\n|---|---|")
        for name in sys.argv[1:] or chosen:
            changed = difference(project, chosen[name])
            differ += bool(changed)
            print(f"| {name} | {'**others**' if changed else 'the same'} |", flush=True)
            if changed:
                print(changed, file=sys.stderr)
                project.reset()
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main()
