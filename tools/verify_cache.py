"""Compare every object in DVC's cache with its digest: python -m tools.verify_cache.

DVC assumes that an object that is read-only is intact (`LocalHashFileDB.check` in dvc-data). It
copies a damaged object to the workspace, and keeps it when the stage runs again. This tool reads
all objects. If some are damaged, it prints them and the commands that replace them, and exits with
1. It deletes nothing.
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
"""The end of the name of an object that lists a folder's files."""


def main() -> None:
    """Print the damaged objects and the commands that replace them."""
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
            f"All {len(every):,} objects of DVC's cache are intact. If a file in the workspace is "
            "damaged, delete it and run `dvc checkout`, which restores it."
        )
        return
    print("\n".join(advice(damaged, len(every), copies)))
    sys.exit(1)


def objects(cache: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the path of each object.

    The name is the object's MD5. The name of an object that lists a folder also ends in `FOLDER`.
    """
    # The first two digits are the folder that DVC files an object under.
    for path in sorted(cache.glob("??/*")):
        name = path.parent.name + path.name
        if DIGEST.fullmatch(name.removesuffix(FOLDER)):
            yield name, path


def is_whole(path: Path, name: str) -> bool:
    """Return whether a file can be read and has the MD5 that `name` begins with."""
    if not path.is_file():  # reading a FIFO would block for ever
        return False
    try:
        return md5(path) == name.removesuffix(FOLDER)
    except OSError:
        return False


def workspace_copies(repo: Repo, whole: dict[str, Path]) -> dict[str, list[Path]]:
    """Return the files in the workspace that should have each object's content, by its name.

    Args:
        repo: the project.
        whole: the paths of the intact objects by name. Those that list a folder are read.

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
    """Yield lines about the damaged objects, and the commands that replace them.

    Args:
        damaged: the paths of the damaged objects by name.
        count: how many objects the cache holds.
        copies: the result of `workspace_copies`.

    """
    remove = []
    for name, path in damaged.items():
        known = copies.get(name, [])
        of = ", ".join(map(shown, known)) or "of another commit or an experiment"
        yield f"damaged: {shown(path)} ({of})"
        remove.append(path)
        # DVC would commit a damaged copy in the workspace to its cache again.
        if not name.endswith(FOLDER):
            remove += [copy for copy in known if copy.is_file() and not is_whole(copy, name)]
    yield f"\n{len(damaged):,} of {count:,} objects of DVC's cache are damaged. This replaces them:"
    yield from (f"  rm -f {shlex.quote(shown(path))}" for path in remove)
    yield "  dvc repro    # or, where a remote has them: dvc pull"


def shown(path: Path) -> str:
    """Return a path relative to the working folder, if it lies inside."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    main()
