"""Whether a stage's memory will do, said before the system ends the stage without a word.

Out of memory, Linux kills the process that takes most, and all that dvc can say of it is that it
"exited with -9".
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from thaw.config.params import Params, load_params
from thaw.support.errors import ThawError

_SMALL, _LARGE = 32**2, 224**2
"""Pixels of the images that the needs below were measured at."""
NEEDS = {
    "weights": (1.0, 1.0),
    "preprocess": (0.5, 0.5),
    "baseline": (1.8, 1.8),
    "features": (1.4, 1.4),
    "train-frozen": (1.8, 1.8),
    "train-full": (2.1, 3.7),
    "train-partial": (2.1, 3.7),
    "diagnose": (2.1, 2.1),
}
"""GB that a stage takes at 32 and at 224 pixels with default batches (benchmarks/memory.md), with
all images, of which those of 32 pixels are held. What is not here takes less than half a GB."""
_MEMBERSHIP, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_NAMES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a control group's limit, of what it uses, and in memory.stat of what is only cached."""


def need(stage: str, params: Params) -> float:
    """Return about how much memory a stage takes, GB."""
    small, large = NEEDS[stage]
    side = params.baseline.image_size if stage == "baseline" else params.image_size
    return small + (large - small) * (side**2 - _SMALL) / (_LARGE - _SMALL)


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


def balance(stage: str) -> tuple[float, float]:
    """Return how much memory a stage takes and how much is free, GB; 0 where it is unknown."""
    with suppress(ThawError):  # params.yaml is not valid, which the stage will say
        if stage in NEEDS:
            return need(stage, load_params()), available()
    return 0.0, 0.0
