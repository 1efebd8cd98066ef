"""Nested entries under dotted names: `a: {b: 1}` becomes `a.b: 1`, as in DVC."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(entries: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value with its dotted name."""
    for name, value in entries.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
