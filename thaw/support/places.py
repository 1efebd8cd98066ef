"""Checks of what is at a path before thaw reads or writes there.

thaw reads through symbolic links, but never replaces or removes one: the user made it on purpose.
Opening a FIFO would wait for ever, so thaw checks every path before it opens it.
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
"""DVC's temporary name for a file that it copies; a killed DVC leaves such a file."""


def kind(path: Path, follow: bool = False) -> str:
    """Return what is at `path`, or "" if nothing is; with `follow`, what a link leads to."""
    try:
        mode = (path.stat() if follow else path.lstat()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return _KINDS.get(stat.S_IFMT(mode), "something else")


def check_input(path: Path) -> Path:
    """Check that `path` is a readable file or does not exist, and return it.

    Raises:
        ThawError: it is a folder, a FIFO or the like, or reading is not permitted.

    """
    found = kind(path, follow=True)
    if found not in (FILE, ""):
        raise ThawError(f"{path} must be a file. Received: {found}. {_move_away(path)}")
    if found and not os.access(path, os.R_OK):
        raise ThawError(f"{path} may not be read. Change its permissions and run again.")
    return path


def check_output(path: Path, wanted: str) -> None:
    """Check that thaw may write to `path`: it does not exist, or is of the wanted kind.

    Args:
        path: where thaw is about to write.
        wanted: FILE or FOLDER.

    Raises:
        ThawError: something else is there, such as a link.

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
    """Create a folder and its parents; parents may be links to folders.

    Raises:
        ThawError: something other than a folder is in the way.

    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        blocking = next(p for p in (path, *path.parents) if kind(p) and not p.is_dir())
        raise ThawError(
            f"{blocking} must be a folder. Received: {kind(blocking)}. {_move_away(blocking)}"
        ) from None


def is_left_by_dvc(path: Path) -> bool:
    """Whether this is an unfinished copy that a killed DVC left."""
    return bool(_COPIED_BY_DVC.fullmatch(path.name)) and kind(path) == FILE


def check_only(folder: Path, names: Collection[str] | None = None, *, links: bool = False) -> None:
    """Check that a folder holds only files with the given names.

    Files may be missing, and so may the folder. Files that a killed DVC left are accepted.

    Args:
        folder: the folder to check.
        names: the allowed names; None allows any.
        links: whether links to files are accepted too.

    Raises:
        ThawError: it is not a folder, or holds something else.

    """
    check_output(folder, FOLDER)
    for path in sorted(folder.iterdir()) if kind(folder) else ():
        ours = (names is None or path.name in names) and kind(path, follow=links) == FILE
        if not ours and not is_left_by_dvc(path):
            raise _not_ours(path, folder)


def check_replaceable(old: Path, new: Path) -> None:
    """Check that `new` has everything that is in `old`: thaw did not write the rest.

    Files that a killed DVC left are accepted.

    Raises:
        ThawError: `old` holds something else; the message names the first such entry.

    """
    check_output(old, FOLDER)
    for parent, folders, files in os.walk(old):  # does not follow links
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
