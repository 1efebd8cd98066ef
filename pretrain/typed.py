"""Settings out of YAML as typed, frozen dataclasses, every entry checked.

No package but PyYAML: what runs on a machine that is lent finds no other there.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

from thaw.support.errors import ThawError

T = TypeVar("T")


@dataclass(frozen=True)
class Within:
    """What a number must be: both ends are allowed."""

    low: float
    high: float = math.inf
    multiple_of: int = 1

    def complaint(self, value: float) -> str:
        """Return what is wrong with a number, or nothing."""
        if not self.low <= value <= self.high:
            return f"must be from {self.low:g} to {self.high:g}"
        if self.multiple_of > 1 and value % self.multiple_of:
            return f"must be a multiple of {self.multiple_of}"
        return ""


Share = Annotated[float, Within(0, 1)]


def read(kind: type[T], path: Path) -> T:
    """Return what `path` holds as a dataclass of dataclasses.

    Raises:
        ThawError: the file is missing, is no YAML, or an entry is unknown, missing or out of range.

    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ThawError(f"{path} cannot be read: {error}") from error
    complaints = list(_complaints(kind, content, ""))
    if complaints:
        listed = "\n".join(f"  {line}" for line in complaints)
        raise ThawError(f"{path} holds entries that cannot be used:\n{listed}")
    made: T = _made(kind, content)
    return made


def _made(kind: Any, value: Any) -> Any:
    if not is_dataclass(kind):
        args = get_args(kind)
        if get_origin(kind) is tuple:
            return tuple(_made(args[0], item) for item in value)
        plain = args[0] if get_origin(kind) is Annotated else kind
        return float(value) if plain is float else value
    hints = get_type_hints(kind, include_extras=True)
    make: Any = kind
    return make(**{name: _made(hint, value[name]) for name, hint in hints.items()})


def _complaints(kind: Any, value: Any, where: str) -> Iterator[str]:
    """Yield a line for each entry at or below `where` that does not fit."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not value:
            yield f"{where}: must be a list of one entry or more. Received: {value!r}"
            return
        for position, item in enumerate(value):
            yield from _complaints(get_args(kind)[0], item, f"{where}[{position}]")
        return
    if not is_dataclass(kind):
        if problem := _problem(kind, value):
            yield f"{where}: {problem}. Received: {value!r}"
        return
    if not isinstance(value, dict):
        yield f"{where or 'the file'}: must be a mapping. Received: {value!r}"
        return
    hints = get_type_hints(kind, include_extras=True)
    prefix = f"{where}." if where else ""
    for name in sorted(map(str, value.keys() - hints.keys())):
        yield f"{prefix}{name}: is unknown. Received: {value.get(name)!r}"
    for name, hint in hints.items():
        if name in value:
            yield from _complaints(hint, value[name], f"{prefix}{name}")
        else:
            yield f"{prefix}{name}: is missing. Received: nothing"


def _problem(kind: Any, value: Any) -> str:
    """Return what is wrong with a single value, or nothing."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "" if value in args else f"must be one of {', '.join(map(str, args))}"
    plain, within = args if origin is Annotated else (kind, Within(-math.inf))
    if plain is bool:
        return "" if isinstance(value, bool) else "must be true or false"
    allowed = (int, float) if plain is float else (int,)
    if isinstance(value, bool) or not isinstance(value, allowed):
        return f"must be {'a number' if plain is float else 'a whole number'}"
    return str(within.complaint(value))
