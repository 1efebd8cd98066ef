"""YAML files as DVC reads them: YAML 1.2, by ruamel.yaml.

Most readers, PyYAML among them, take YAML 1.1. What means two things to the two is refused, so that
nobody who reads the file, person or program, takes it for something else than DVC does.
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
"""Of the kind `*name`: more of them, merged into each other, make gigabytes of a few lines."""
MOST_LEVELS = 50
"""Of nesting: libyaml's reader crashes the process at some ten thousand."""
READ_IN_TWO_WAYS = re.compile(
    r"[-+]?0[0-9_]+"  # 010: 10 in YAML 1.2, octal in 1.1; 08: a number, text
    r"|[-+]?0o[0-7_]+"  # a number, text
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"  # 1:30: text, sixties
    r"|yes|no|on|off",  # text, truth values
    re.IGNORECASE,
)
"""But not 1e-05, a number in YAML 1.2 and text in 1.1: DVC writes rates so."""
DAMAGED_YAML = (
    *(YAMLError, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, AssertionError, RecursionError),
)
"""What ruamel.yaml raises for text that is no YAML, or a value that is none of its tag."""


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        ThawError: the file cannot be read, or is none that DVC and others read alike.

    """
    try:
        text = check_input(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ThawError(f"{path} cannot be read: {error}. Run in the project's folder.") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return what YAML of the name `name` holds.

    Raises:
        ThawError: it is none that DVC and others read alike.

    """
    try:
        _check_size(text)
        doubtful = list(_read_in_two_ways(YAML(typ="safe").compose(text)))
        content = YAML(typ="safe").load(text)
        if "\t" in text or "\x85" in text:  # which DVC's reader takes, but not its writer
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
    """Refuse what would crash the reader or fill the memory, before anything is built of it.

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
    """Yield a line for each value that means two things: where, what is allowed, what it is."""
    for path, node in _scalars(root, (), set()):
        if not node.style and READ_IN_TWO_WAYS.fullmatch(node.value):
            yield (
                f"{'.'.join(path)} (line {node.start_mark.line + 1}): must be a decimal number "
                'without leading zeros, true or false, or text in "quotes". '
                f"Received: {node.value}"
            )


def _scalars(
    node: Node | None, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], ScalarNode]]:
    """Yield each scalar once, with the keys and places that lead to it."""
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
    """Return an error in one line, with the line of the file where it is known."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
