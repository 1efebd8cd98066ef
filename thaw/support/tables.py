"""Writing and reading results as JSON objects and CSV tables."""

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
"""Decimal places of every fraction and loss in JSON; accuracy on 10,000 images has four."""


def write_json(path: Path, content: Mapping[str, Any], digits: int | None = METRIC_DIGITS) -> None:
    """Write `content` as sorted, indented JSON.

    Args:
        path: where the file goes.
        content: may contain nested objects and lists; every float must be finite.
        digits: decimal places of every float at any depth; None keeps all of them.

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
        ThawError: the file is missing or does not hold a JSON object, or a number in it, at any
            depth, is not finite.

    """
    try:
        content = json.loads(check_input(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ThawError(f"{path} cannot be read as JSON: {error}. {remedy()}") from error
    if not isinstance(content, dict):
        raise ThawError(f"{path} must hold a JSON object. Received: {content!r}. {remedy()}")
    # Python's reader accepts NaN and Infinity, which are not JSON.
    for name, value in _floats(content):
        if not math.isfinite(value):
            raise ThawError(f"{path}: {name} must be finite. Received: {value}. {remedy()}")
    return content


def _floats(value: Any, *keys: str) -> Iterator[tuple[str, float]]:
    """Yield every float in a JSON value with its path of keys and positions."""
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
    """Write a table with one header line; floats are not rounded."""
    with atomic_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path, otherwise: str = "") -> list[dict[str, str]]:
    """Return a table's rows by column name.

    Args:
        path: the table.
        otherwise: what the user can do if it is damaged; by default `remedy`.

    Raises:
        ThawError: the file is missing, is not text, or a row has too few or too many values.

    """
    try:
        with check_input(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise ThawError(
            f"{path} cannot be read as CSV: {error}. {otherwise or remedy()}"
        ) from error
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():  # DictReader's marks of a long and of a short row
            raise ThawError(
                f"{path} must have a value for each column of its header. Received in row "
                f"{number}: {','.join(map(str, row.values()))}. {otherwise or remedy()}"
            )
    return rows
