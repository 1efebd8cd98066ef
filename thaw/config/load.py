"""Read params.yaml and report every mistake in it: where, what is allowed, what to do."""

import difflib
import reprlib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from thaw.config.params import Params
from thaw.support import paths
from thaw.support.errors import ThawError
from thaw.support.yaml_file import read_yaml

RENAMED = {
    "batch_norm": "frozen_batch_norm",
    "head_start": "head_warmup",
    "input_range": "value_range",
    "pixels_at_once": "microbatch_pixels",
    "rate_decay": "layer_decay",
}
"""Old names of entries and their present names; CHANGELOG.md explains the changes."""


def load_params(root: Path = Path()) -> Params:
    """Read `root`/params.yaml.

    Raises:
        ThawError: the file is missing, is not YAML, or an entry is unknown, missing, of the wrong
            type or out of range; the message lists every such entry.

    """
    path = root / paths.PARAMS
    entries = _read_entries(path)
    try:
        return Params.model_validate(entries)
    except ValidationError as error:
        problems = dict.fromkeys(_problem(dict(item)) for item in error.errors())
        listed = "\n".join(f"  {line}" for line in problems)
        raise ThawError(
            f"{path} is not valid:\n{listed}\n"
            "Correct the file, or set a value with `dvc exp run -S key=value`."
        ) from None


def _read_entries(path: Path) -> dict[str, Any]:
    entries = read_yaml(path)
    if not isinstance(entries, dict):
        raise ThawError(
            f"{path} must hold entries of the form `key: value`. Received: {_shorten(entries)}"
        )
    return entries


def _problem(item: dict[str, Any]) -> str:
    """Return a line for one of pydantic's errors: where, what is allowed, what was received."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "missing":
        return f"{path}: missing. Allowed: {_allowed(item['loc'])}. Received: nothing"
    if item["type"] in ("extra_forbidden", "invalid_key"):
        hint = _hint(str(item["loc"][-1]), _siblings(item["loc"]))
        return (
            f"{path}: unknown.{hint} Allowed: {', '.join(_siblings(item['loc']))}. "
            f"Received: {_shorten(item['input'])}"
        )
    return f"{path}: must be {_allowed(item['loc'])}. Received: {_shorten(item['input'])}"


def _hint(name: str, siblings: list[str]) -> str:
    """Return a hint at the entry that the user probably meant, or ""."""
    if RENAMED.get(name) in siblings:
        return f" It is called {RENAMED[name]} now: see CHANGELOG.md."
    near = difflib.get_close_matches(name, siblings, n=1)
    return f" Did you mean {near[0]}?" if near else ""


def _section_of(location: tuple[Any, ...]) -> type[BaseModel]:
    section: type[BaseModel] = Params
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        kind = field.annotation if field else None
        # `issubclass` fails on annotations that are no classes, such as Literal.
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            break
        section = kind
    return section


def _allowed(location: tuple[Any, ...]) -> str:
    section: type[BaseModel] = Params
    allowed = ""
    for part in location:
        field = section.model_fields.get(str(part))
        if field is None:  # an element of a list: the list's description covers it
            break
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            section = kind
            allowed = f"a section with the entries {', '.join(kind.model_fields)}"
        else:
            allowed = field.description or ""
    return allowed


def _siblings(location: tuple[Any, ...]) -> list[str]:
    return list(_section_of(location).model_fields)


def _shorten(value: object, limit: int = 80) -> str:
    text = _brief().repr(value)
    return text if len(text) <= limit else text[:limit] + ".."


def _brief() -> reprlib.Repr:
    """Return a repr that shows only how a value begins: a few lines of YAML can mean gigabytes."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxlist, brief.maxdict = 3, 9, 4
    brief.maxstring = brief.maxother = brief.maxlong = 200
    return brief
