"""HDF5 files that may be damaged, or made to do harm.

The HDF5 library does not always refuse the damaged ones: on a few in ten thousand it fills the
memory, goes in circles or crashes, which no `except` survives. And a file may name other files as
its own content, which the library then reads. So a file from outside is first looked at in a
process of its own: this module, run as a program.
"""

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

DAMAGED_HDF5 = (OSError, LookupError, TypeError, ValueError, RuntimeError, AttributeError)
"""What h5py raises for a file that is damaged, or laid out otherwise than expected."""
MEMORY = 2_000_000_000
"""Bytes of address space that reading may take, and of all arrays; ResNet50 has 103 million."""
TOO_LARGE = f"it asks for more than {MEMORY:,} bytes of memory"
SECONDS = 20
OBJECTS = 20_000
"""Groups and arrays that a file may have; ResNet50 with Keras' optimizer has about 1,500."""
DEPTH = 64
"""Groups within groups; a model in a model in a model takes 9."""
NUMBERS = "fiub"
"""Kinds of NumPy's types: floats, integers of both signs, truth values."""
Nodes = list[tuple[str, h5py.Group | h5py.Dataset]]


def flaw(path: Path) -> str:
    """Return what keeps an HDF5 file from being read to its end, "" where nothing does.

    A file that is not whole in itself has a flaw, too: links to elsewhere, arrays that lie in other
    files or nowhere.
    """
    command = [sys.executable, "-m", __name__, str(path.resolve())]
    try:
        subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return f"reading does not end within {SECONDS} s"
    except subprocess.CalledProcessError as error:
        if error.returncode < 0:
            return f"the HDF5 library crashes on it (signal {-error.returncode})"
        return error.stderr.strip()
    return ""


def _main(path: str) -> str:
    """Look at everything in `path`, then read it, within `MEMORY`; return what went wrong."""
    _limit_memory()
    try:
        with h5py.File(path) as file:
            nodes = list(_nodes(file))
            if sum(_bytes(name, node) for name, node in nodes) > MEMORY:
                raise MemoryError
            for name, node in nodes:
                _read(name, node)
    except MemoryError:
        return TOO_LARGE
    except DAMAGED_HDF5 as error:
        return " ".join(str(error).split()) or repr(error)
    return ""


def _limit_memory() -> None:
    """Limit it where the system lets us: not on Windows, not on a Mac."""
    try:
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    except (ImportError, ValueError, OSError):
        pass


def _nodes(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield every group and array with its name, the file's root first, and read none of them.

    Raises:
        ValueError: something has two names, lies too deep, or is neither group nor array.

    """
    seen = set()
    pending: Nodes = [("", file["/"])]
    while pending:
        name, node = pending.pop()
        if not isinstance(node, h5py.Group | h5py.Dataset):
            raise ValueError(f"{_say(name)} is neither a group nor an array")
        address = h5py.h5o.get_info(node.id).addr
        # Two names for one array would let a small file ask for any amount of memory; two for a
        # group may lead in a circle.
        if address in seen:
            raise ValueError(f"{_say(name)} is a second name of something else in the file")
        seen.add(address)
        if len(seen) + len(pending) > OBJECTS:
            raise ValueError(f"it has more than {OBJECTS:,} groups and arrays")
        yield name, node
        if isinstance(node, h5py.Group):
            pending += _children(name, node)


def _children(parent: str, group: h5py.Group) -> Nodes:
    """Return what a group holds; no link is followed before all of them were looked at."""
    if parent.count("/") >= DEPTH:
        raise ValueError(f"{_say(parent)} lies more than {DEPTH} groups deep")
    if len(group) > OBJECTS:
        raise ValueError(f"it has more than {OBJECTS:,} groups and arrays")
    links = list(group.id)
    for link in links:
        if group.id.links.get_info(link).type != h5py.h5l.TYPE_HARD or b"/" in link:
            name = link.decode(errors="replace")
            raise ValueError(f"{_say(f'{parent}/{name}')} is a link to another place or file")
    return [(f"{parent}/{link.decode(errors='replace')}", group[link]) for link in links]


def _bytes(name: str, node: h5py.Group | h5py.Dataset) -> int:
    """Return how many bytes an object's array and attributes take in memory.

    Raises:
        ValueError: the array is none of numbers, or lies elsewhere.

    """
    ids = [node.attrs.get_id(key) for key in node.attrs]
    attributes = sum(math.prod(some.shape) * some.dtype.itemsize for some in ids)
    if isinstance(node, h5py.Group):
        return attributes
    if node.shape is None:
        raise ValueError(f"{_say(name)} holds nothing")
    if node.dtype.kind not in NUMBERS:
        raise ValueError(f"{_say(name)} must hold numbers. Received: {_say(str(node.dtype))}")
    how = node.id.get_create_plist()
    if how.get_external_count() or node.is_virtual:
        raise ValueError(f"{_say(name)} lies in another file")
    if any(how.get_filter(i)[0] > h5py.h5z.FILTER_SCALEOFFSET for i in range(how.get_nfilters())):
        raise ValueError(f"{_say(name)} is compressed in a way that HDF5 itself does not know")
    return attributes + int(node.nbytes)


def _is_stored(array: h5py.Dataset) -> bool:
    """Whether all of an array is in the file; HDF5 reads the rest as zeros."""
    if not array.size:
        return True
    if array.chunks is None:
        return bool(array.id.get_storage_size() >= array.nbytes)
    counts = [-(-side // chunk) for side, chunk in zip(array.shape, array.chunks, strict=True)]
    return bool(array.id.get_num_chunks() >= math.prod(counts))


def _say(name: str, limit: int = 80) -> str:
    """Return a name as one line of printable characters, its end left out where it is long."""
    text = ascii(name)[1:-1]
    return text if len(text) <= limit else f"{text[:limit]}.."


def _read(name: str, node: h5py.Group | h5py.Dataset) -> None:
    dict(node.attrs)
    if isinstance(node, h5py.Dataset):
        if not _is_stored(node):
            raise ValueError(f"{_say(name)} was never wholly written")
        node[()]


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]) or None)
