"""Every object of DVC's cache, held to the digest that names it: python -m tools.verify_cache.

DVC takes an object that is read-only for whole (`LocalHashFileDB.check` in dvc-data): it copies a
damaged one to the workspace, and keeps it when its stage runs again. This reads all of them, names
the damaged ones and what replaces them, and ends with 1. It deletes nothing.
"""

import json
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from thaw.support.files import md5

DIGEST = re.compile("[0-9a-f]{32}")
FOLDER = ".dir"
"""What the name of an object ends in that lists a folder's files."""


def main() -> None:
    """Print what is damaged, and the commands that replace it."""
    try:
        repo = Repo()
        cache = Path(repo.cache.local.path)
        every = dict(objects(cache))
        damaged = {name: path for name, path in every.items() if not is_whole(path, name)}
        copies = workspace_copies(repo, {name: every[name] for name in every.keys() - damaged})
    except DvcException as error:
        sys.exit(f"error: DVC cannot read this project: {error}")
    if not damaged:
        print(
            f"All {len(every):,} objects of DVC's cache are whole. Should a file in the workspace "
            "be damaged, delete it: `dvc checkout` brings it back."
        )
        return
    print("\n".join(advice(damaged, len(every), copies)))
    sys.exit(1)


def objects(cache: Path) -> Iterator[tuple[str, Path]]:
    """Yield each object's name, its digest with `FOLDER` behind that of a folder, and its path."""
    for path in sorted(cache.glob("??/*")):
        name = path.parent.name + path.name
        if DIGEST.fullmatch(name.removesuffix(FOLDER)):
            yield name, path


def is_whole(path: Path, name: str) -> bool:
    """Return whether a file can be read and has the MD5 that `name` begins with."""
    if not path.is_file():  # a FIFO would never answer
        return False
    try:
        return md5(path) == name.removesuffix(FOLDER)
    except OSError:
        return False


def workspace_copies(repo: Repo, whole: dict[str, Path]) -> dict[str, list[Path]]:
    """Return which files in the workspace are to have which object's content.

    Args:
        repo: the project.
        whole: the objects that are not damaged: those of folders say what is in them.

    """
    copies = defaultdict(list)
    for out in repo.index.outs:
        name, place = out.hash_info.value, Path(out.fs_path)
        copies[name].append(place)
        if name in whole and name.endswith(FOLDER):
            for entry in json.loads(whole[name].read_bytes()):
                copies[entry["md5"]].append(place / entry["relpath"])
    return copies


def advice(damaged: dict[str, Path], count: int, copies: dict[str, list[Path]]) -> Iterator[str]:
    """Yield lines: what is damaged, and commands that remove it and its damaged copies.

    Args:
        damaged: paths by name.
        count: objects in the cache.
        copies: as `workspace_copies` gives them.

    """
    remove = []
    for name, path in damaged.items():
        known = copies.get(name, [])
        of = ", ".join(map(shown, known)) or "of another commit or an experiment"
        yield f"damaged: {shown(path)} ({of})"
        remove.append(path)
        if not name.endswith(FOLDER):
            remove += [copy for copy in known if copy.is_file() and not is_whole(copy, name)]
    yield f"\n{len(damaged):,} of {count:,} objects of DVC's cache are damaged. This replaces them:"
    yield from (f"  rm -f {shlex.quote(shown(path))}" for path in remove)
    yield "  dvc repro    # or, where a remote has them: dvc pull"


def shown(path: Path) -> str:
    """Return a path as seen from here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
