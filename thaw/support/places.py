"""What lies where thaw reads and writes: a file, a folder, or what it must leave alone.

A link is somebody's decision, and what it leads to is not thaw's to replace or remove; to read
through it is fine. Opening a FIFO waits for ever, so everything is looked at before it is opened.
"""

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

from thaw.support.errors import ThawError

FILE, FOLDER, LINK = "a file", "a folder", "a symbolic link"
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: FOLDER,
    stat.S_IFLNK: LINK,
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_COPIED_BY_DVC = re.compile(r"\.[\w-]{22}\.tmp")
"""What DVC calls a file while it copies it; a killed DVC leaves one."""


def kind(path: Path, follow: bool = False) -> str:
    """Return what lies at `path`, "" for nothing; with `follow` what a link leads to."""
    try:
        mode = (path.stat() if follow else path.lstat()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def check_input(path: Path) -> Path:
    """Return `path`, held to be a file that may be read, or not to be there.

    Raises:
        ThawError: it is a folder, a FIFO or the like, or may not be read.

    """
    found = kind(path, follow=True)
    if found not in (FILE, ""):
        raise ThawError(f"{path} must be a file. Received: {found}. {_move_away(path)}")
    if found and not os.access(path, os.R_OK):
        raise ThawError(f"{path} may not be read. Change its permissions and run again.")
    return path


def check_output(path: Path, wanted: str) -> None:
    """Hold what lies where thaw is about to write to what thaw would write there, or nothing.

    Args:
        path: of the output.
        wanted: FILE or FOLDER.

    Raises:
        ThawError: it is something else.

    """
    found = kind(path)
    if found == LINK:
        raise ThawError(
            f"{path} must be {wanted}. Received: a symbolic link to {path.readlink()}. thaw "
            "replaces and removes only what it wrote itself. Remove the link (what it leads to "
            "stays) and run again."
        )
    if found not in (wanted, ""):
        raise ThawError(f"{path} must be {wanted}. Received: {found}. {_move_away(path)}")


def make_folder(path: Path) -> None:
    """Make a folder and those above it; links to folders may be among them.

    Raises:
        ThawError: something else is in its place.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        blocking = next(p for p in (path, *path.parents) if kind(p) and not p.is_dir())
        raise ThawError(
            f"{blocking} must be a folder. Received: {kind(blocking)}. {_move_away(blocking)}"
        ) from None


def is_left_by_dvc(path: Path) -> bool:
    """Whether a killed DVC left this file unfinished."""
    return bool(_COPIED_BY_DVC.fullmatch(path.name)) and kind(path) == FILE


def check_only(folder: Path, names: Collection[str] | None = None, *, links: bool = False) -> None:
    """Hold a folder to files of these names, some or all of which may be missing; None: of any.

    What a killed DVC left passes, and with `links` links to files pass as files do.

    Raises:
        ThawError: it is no folder, or holds something else.

    """
    check_output(folder, FOLDER)
    for path in sorted(folder.iterdir()) if kind(folder) else ():
        ours = (names is None or path.name in names) and kind(path, follow=links) == FILE
        if not ours and not is_left_by_dvc(path):
            raise _not_ours(path, folder)


def check_replaceable(old: Path, new: Path) -> None:
    """Hold a folder to what the one that is to take its place has, too: the rest is not thaw's.

    What a killed DVC left passes.

    Raises:
        ThawError: it holds something else; the first is named.

    """
    check_output(old, FOLDER)
    for parent, folders, files in os.walk(old):  # which follows no link
        for name in sorted([*folders, *files]):
            path = Path(parent) / name
            ours = kind(path) == kind(new / path.relative_to(old))
            if not ours and not is_left_by_dvc(path):
                raise _not_ours(path, old)


def _not_ours(path: Path, folder: Path) -> ThawError:
    return ThawError(
        f"{path} is not thaw's. Allowed in {folder}: only what thaw writes there, since it "
        f"replaces the whole folder. Received: {kind(path)}. {_move_away(path)}"
    )


def _move_away(path: Path) -> str:
    return f"Move {path.name} elsewhere and run again."
