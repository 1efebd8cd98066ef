"""What git makes of the repository on other people's machines."""

import subprocess
from pathlib import Path

from conftest import ROOT


def git(*arguments: str | Path, feed: str = "") -> list[str]:
    command = ("git", *map(str, arguments))
    return subprocess.check_output(command, input=feed, text=True).split("\n")[:-1]


def test_a_clone_by_a_git_that_makes_crlf_has_the_committed_bytes(tmp_path: Path) -> None:
    """DVC knows files by their bytes: with other line ends every stage would have changed."""
    git("-c", "core.autocrlf=true", "clone", "--quiet", "--no-hardlinks", ROOT, tmp_path)
    entries = [line.split("\t") for line in git("-C", tmp_path, "ls-tree", "-r", "HEAD")]
    committed = {path: entry.split()[2] for entry, path in entries}
    paths = "\n".join(committed)
    found = git("-C", tmp_path, "hash-object", "--no-filters", "--stdin-paths", feed=paths)
    assert [
        path for path, have in zip(committed, found, strict=True) if committed[path] != have
    ] == []


def test_a_person_sees_at_most_eleven_folders() -> None:
    tracked = (
        path.split("/") for path in git("-C", ROOT, "ls-files", "-c", "-o", "--exclude-standard")
    )
    folders = {parts[0] for parts in tracked if len(parts) > 1 and not parts[0].startswith(".")}
    assert len(folders) <= 11, sorted(folders)
