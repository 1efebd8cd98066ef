"""How much memory is available, so that a stage can warn before Linux kills it.

When the memory runs out, Linux kills the largest process without a message. dvc then only reports
that the stage "exited with -9".
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
"""File of the limit, file of the use, and entry in memory.stat of the cache; cgroup v2, then v1."""


def available() -> float:
    """Return how much memory the machine and its control groups leave to this process, in GB."""
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
    """Return how many bytes of memory a control group leaves; infinity if it sets no limit."""
    for limit, used, cached in _NAMES:
        with suppress(OSError, ValueError):  # no such group, or its limit is "max"
            stat = (group / "memory.stat").read_text(encoding="ascii").split()
            # The use includes the file cache, but Linux frees that when memory is short.
            given_up = int(stat[stat.index(cached) + 1])
            return _number(group / limit) - _number(group / used) + given_up
    return math.inf


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def ran_out(error: Exception) -> bool:
    """Whether an error of NumPy or TensorFlow says that the memory ran out."""
    # By its name, because an import of TensorFlow takes seconds.
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"
