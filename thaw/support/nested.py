"""Nested entries as lines: `a: {b: 1}` is `a.b: 1`, as DVC names params and metrics."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested entries under their paths."""
    for name, value in entries.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
