"""Whether a stage's memory will do, said before the system ends the stage without a word.

Out of memory, Linux kills the process that takes most, and all that dvc can say of it is that it
"exited with -9".
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_MEMBERSHIP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_NAMES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a control group's limit, of what it uses, and in memory.stat of what is only cached."""


def available() -> float:
    """Return how much memory this process can have, GB: of the machine's, of its container's."""
    free = [psutil.virtual_memory().available, *map(_left, _groups())]
    return float(min(free)) / 1e9


def _groups() -> Iterator[Path]:
    """Yield the folders of the control groups (versions 1 and 2) that this process is in."""
    with suppress(OSError):
        for line in _MEMBERSHIP.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                group = _GROUPS / controllers / path.lstrip("/")
                yield from (g for g in (group, *group.parents) if g.is_relative_to(_GROUPS))


def _left(group: Path) -> float:
    """Return how many bytes of memory a control group leaves, endless where it sets no limit."""
    for limit, used, cached in _NAMES:
        with suppress(OSError, ValueError):  # no such group; or its limit is "max"
            stat = (group / "memory.stat").read_text(encoding="ascii").split()
            given_up = int(stat[stat.index(cached) + 1])  # where it is needed
            return _number(group / limit) - _number(group / used) + given_up
    return math.inf


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def ran_out(error: Exception) -> bool:
    """Whether an error says that the memory ran out: NumPy's, or TensorFlow's, loaded or not."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
