"""Weights files made to do harm; `python -m tests.reliability.hostile` makes a table of them."""

from pathlib import Path

import pytest

from tests.reliability.hostile import HARMFUL, ODD, attempt

FAST = (
    "array kept in /etc/passwd",
    "link to a named pipe",
    "virtual array of another file",
    "100 names for one array of 1 GB",
    "3 GB of zeros, compressed to 3 MB",
    "complex weights",
    "truth values",
    "text",
    "float64 beyond float32",
    "array without shape",
    "archive with other bytes in its middle",
)


def check(what: str, folder: Path) -> None:
    outcome = attempt((HARMFUL | ODD)[what], folder)
    assert outcome.word == ("refused" if what in HARMFUL else "read"), outcome
    assert outcome.said.isprintable()


@pytest.mark.parametrize("what", FAST)
def test_a_harmful_file_is_refused(tmp_path: Path, what: str) -> None:
    check(what, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("what", [what for what in HARMFUL | ODD if what not in FAST])
def test_any_other_is_refused_or_read(tmp_path: Path, what: str) -> None:
    check(what, tmp_path)


def test_there_are_enough_kinds() -> None:
    assert len(HARMFUL) >= 20
