"""What git and DVC say is wrong, whatever they end with."""

import sys
from pathlib import Path

import pytest

from tools.commands import answer, git

WARNS = "import sys; print('{{}}'); print({!r}, file=sys.stderr); sys.exit({})"


def program(said: str, code: int) -> tuple[str, ...]:
    return (sys.executable, "-c", WARNS.format(said, code))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("WARNING: failed to load params in revision 'workspace', ..", 0),
        ("DVC failed to load some metrics for following revisions: 'workspace'.", 0),
        ("one\nERROR: two", 0),
        ("any", 1),
        ("", 3),
    ],
)
def test_a_failure_or_warning_ends_with_one_message(said: str, code: int) -> None:
    with pytest.raises(SystemExit) as caught:
        answer(*program(said, code))
    message = str(caught.value.code)
    assert message.startswith("error: ")
    assert message.endswith(said or "{}")


@pytest.mark.parametrize("said", ["", "warning: LF will be replaced by CRLF", "5 files fetched"])
def test_what_is_no_warning_of_dvcs_is_passed_over(said: str) -> None:
    assert answer(*program(said, 0)) == "{}"


def test_a_command_that_is_not_there() -> None:
    with pytest.raises(SystemExit, match=r"no-such-program was not found\. Install it"):
        answer("no-such-program")


def test_git_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: git rev-parse HEAD: fatal: not a git"):
        git("rev-parse", "HEAD", root=tmp_path)
