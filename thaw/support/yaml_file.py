"""Read YAML files as DVC does: as YAML 1.2, with ruamel.yaml.

Most other readers, such as PyYAML, expect YAML 1.1. thaw refuses values that the two versions read
differently, so that every person and program that reads the file sees the same values as DVC.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from thaw.support.errors import ThawError
from thaw.support.places import check_input

MOST_REFERENCES = 20
"""References such as `*name`. With more of them, a few nested lines can grow to gigabytes."""
MOST_LEVELS = 50
"""Levels of nesting. libyaml crashes the process at about ten thousand."""
READ_IN_TWO_WAYS = re.compile(
    r"[-+]?0[0-9_]+"  # 010: ten in YAML 1.2, eight in 1.1; 08: a number in 1.2, text in 1.1
    r"|[-+]?0o[0-7_]+"  # 0o10: a number in 1.2, text in 1.1
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"  # 1:30: text in 1.2, ninety in 1.1
    r"|yes|no|on|off",  # text in 1.2, a boolean in 1.1
    re.IGNORECASE,
)
"""1e-05 is a number in YAML 1.2 and text in 1.1, but it must pass: DVC writes such rates."""
DAMAGED_YAML = (
    *(YAMLError, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, RecursionError),
)
"""What ruamel.yaml raises for text that is not YAML, or for a value that does not fit its tag."""


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ThawError: the file cannot be read, is not YAML, or holds a value that YAML 1.1 and 1.2 read
            differently.

    """
    try:
        text = check_input(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThawError(f"{path} cannot be read: {error}. Run in the project's folder.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return the content of YAML text; error messages call it `name`.

    Raises:
        ThawError: it is not YAML, or holds a value that YAML 1.1 and 1.2 read differently.

    """
    try:
        _check_size(text)
        doubtful = list(_read_in_two_ways(YAML(typ="safe").compose(text)))
        content = YAML(typ="safe").load(text)
        # DVC reads these characters but fails when it writes the file, so try its writer's parser.
        if "\t" in text or "\x85" in text:
            YAML(typ="rt").load(text)
    except DAMAGED_YAML as error:
        raise ThawError(f"{name} is not YAML: {_said(error)}. Correct the file.") from error
    if doubtful:
        listed = "\n".join(f"  {line}" for line in doubtful)
        raise ThawError(
            f"{name} holds what YAML 1.1 and 1.2 read differently:\n{listed}\nCorrect the file."
        )
    return content


def _check_size(text: str) -> None:
    """Refuse text that would crash the reader or fill the memory, before it is built up.

    Raises:
        ValueError: there are too many references or levels.

    """
    references = levels = 0
    for event in YAML(typ="safe").parse(text):
        references += isinstance(event, AliasEvent)
        levels += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if references > MOST_REFERENCES or levels > MOST_LEVELS:
            raise ValueError(
                f"line {event.start_mark.line + 1}: at most {MOST_REFERENCES} references and "
                f"{MOST_LEVELS} levels are allowed"
            )


def _read_in_two_ways(root: Node | None) -> Iterator[str]:
    """Yield a message for each value that YAML 1.1 and 1.2 read differently."""
    for path, node in _scalars(root, (), set()):
        # Quoted text has a style, and both versions read it as text.
        if not node.style and READ_IN_TWO_WAYS.fullmatch(node.value):
            yield (
                f"{'.'.join(path)} (line {node.start_mark.line + 1}): must be a decimal number "
                'without leading zeros, true or false, or text in "quotes". '
                f"Received: {node.value}"
            )


def _scalars(
    node: Node | None, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], ScalarNode]]:
    """Yield each scalar once, with its path of keys and positions."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield from _scalars(value, (*path, str(key.value)), seen)
    elif isinstance(node, SequenceNode):
        for place, value in enumerate(node.value):
            yield from _scalars(value, (*path, str(place)), seen)
    elif isinstance(node, ScalarNode):
        yield path, node


def _said(error: Exception) -> str:
    """Return an error as one line, with the line number if it is known."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
