"""JSON objects and CSV tables: how results are written, and checked when they are read."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from thaw.support.errors import ThawError, remedy
from thaw.support.files import atomic_file
from thaw.support.places import check_input

METRIC_DIGITS = 4
"""Digits behind the point of every fraction and loss in `metrics/` (accuracy on 10,000 images
has four)."""


def write_json(path: Path, content: Mapping[str, Any], digits: int | None = METRIC_DIGITS) -> None:
    """Write `content` as sorted, indented JSON.

    Args:
        path: of the file.
        content: objects and lists may be nested in it; every float must be finite.
        digits: behind the point of every float, however deep it lies; None: all of them.

    Raises:
        ValueError: a float is not finite.

    """
    if digits is not None:
        content = _rounded(content, digits)
    with atomic_file(path) as scratch:
        scratch.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def _rounded(value: Any, digits: int) -> Any:
    match value:
        case float():
            return round(value, digits)
        case Mapping():
            return {key: _rounded(inner, digits) for key, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner, digits) for inner in value]
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`.

    Raises:
        ThawError: the file is missing or holds no JSON object, or a number in it, however deep it
            lies, is not finite.

    """
    try:
        content = json.loads(check_input(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ThawError(f"{path} cannot be read as JSON: {error}. {remedy()}") from error
    if not isinstance(content, dict):
        raise ThawError(f"{path} must hold a JSON object. Received: {content!r}. {remedy()}")
    for name, value in _floats(content):
        if not math.isfinite(value):
            raise ThawError(f"{path}: {name} must be finite. Received: {value}. {remedy()}")
    return content


def _floats(value: Any, *keys: str) -> Iterator[tuple[str, float]]:
    """Yield every float in a JSON value with the keys and positions that lead to it."""
    match value:
        case float():
            yield ".".join(keys), value
        case dict():
            for key, inner in value.items():
                yield from _floats(inner, *keys, key)
        case list():
            for position, inner in enumerate(value):
                yield from _floats(inner, *keys, str(position))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table with one header line; floats are written as they are given."""
    with atomic_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path, otherwise: str = "") -> list[dict[str, str]]:
    """Return a table's rows by column name.

    Args:
        path: of the table.
        otherwise: what to do where it is damaged; `remedy` where nothing else is said.

    Raises:
        ThawError: the file is missing, is not text, or has a line of another length.

    """
    try:
        with check_input(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ThawError(
            f"{path} cannot be read as CSV: {error}. {otherwise or remedy()}"
        ) from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():  # too long, too short
            raise ThawError(
                f"{path} must have a value for each column of its header. Received in row "
                f"{number}: {','.join(map(str, row.values()))}. {otherwise or remedy()}"
            )
    return rows
