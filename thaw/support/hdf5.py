"""Check HDF5 files that may be damaged or malicious.

The HDF5 library does not refuse every damaged file. On a few in ten thousand it fills the memory,
never returns or crashes, and no `except` catches that. A file can also refer to other files as its
content, and the library then reads those. So a separate process checks each file from outside
before thaw reads it: it runs this module as a program.
"""

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py

DAMAGED_HDF5 = (OSError, LookupError, TypeError, ValueError, RuntimeError, AttributeError)
"""What h5py raises for a file that is damaged or has an unexpected layout."""
MEMORY = 2_000_000_000
"""Bytes allowed for all arrays, and for the process that reads them; ResNet50 has 103 million."""
TOO_LARGE = f"it asks for more than {MEMORY:,} bytes of memory"
SECONDS = 20
OBJECTS = 20_000
"""Groups and arrays that a file may have; ResNet50 with Keras' optimizer has about 1,500."""
DEPTH = 64
"""Groups within groups; a model in a model in a model takes 9."""
NUMBERS = "fiub"
"""The kinds of NumPy types that are allowed: float, signed and unsigned integer, boolean."""
Nodes = list[tuple[str, h5py.Group | h5py.Dataset]]


def flaw(path: Path) -> str:
    """Return why an HDF5 file must not be read, or "" if it can be read completely.

    A file that is not self-contained has a flaw too: it links to other places, or its arrays are
    stored in other files or not at all.
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
        if error.returncode < 0:  # ended by a signal, so there is no message
            return f"the HDF5 library crashes on it (signal {-error.returncode})"
        return error.stderr.strip()
    return ""


def _main(path: str) -> str:
    """Check everything in `path`, then read it within `MEMORY`; return the flaw, or ""."""
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
    """Limit the address space, where the system allows that: not on Windows or macOS."""
    try:
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    except (ImportError, ValueError, OSError):
        pass


def _nodes(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Yield every group and array with its name, the root first, without reading any data.

    Raises:
        ValueError: an object has two names, is nested too deeply, or is neither group nor array.

    """
    seen = set()
    pending: Nodes = [("", file["/"])]
    while pending:
        name, node = pending.pop()
        if not isinstance(node, h5py.Group | h5py.Dataset):
            raise ValueError(f"{_say(name)} is neither a group nor an array")
        address = h5py.h5o.get_info(node.id).addr
        # If one array had many names, a small file could ask for any amount of memory. If a group
        # had two, this loop might never end.
        if address in seen:
            raise ValueError(f"{_say(name)} is a second name of something else in the file")
        seen.add(address)
        if len(seen) + len(pending) > OBJECTS:
            raise ValueError(f"it has more than {OBJECTS:,} groups and arrays")
        yield name, node
        if isinstance(node, h5py.Group):
            pending += _children(name, node)


def _children(parent: str, group: h5py.Group) -> Nodes:
    """Return a group's members; check all of its links before following any of them."""
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
        ValueError: the array does not hold numbers, or is stored elsewhere.

    """
    ids = [node.attrs.get_id(key) for key in node.attrs]
    attributes = sum(math.prod(some.shape) * some.dtype.itemsize for some in ids)
    if isinstance(node, h5py.Group):
        return attributes
    if node.shape is None:
        raise ValueError(f"{_say(name)} holds nothing")
    if node.dtype.kind not in NUMBERS:
        raise ValueError(f"{_say(name)} must hold numbers. Received: {_say(str(node.dtype))}")
    # A filter beyond HDF5's own is a plugin: the library would load it and run its code.
    how = node.id.get_create_plist()
    if how.get_external_count() or node.is_virtual:
        raise ValueError(f"{_say(name)} lies in another file")
    if any(how.get_filter(i)[0] > h5py.h5z.FILTER_SCALEOFFSET for i in range(how.get_nfilters())):
        raise ValueError(f"{_say(name)} is compressed in a way that HDF5 itself does not know")
    return attributes + int(node.nbytes)


def _is_stored(array: h5py.Dataset) -> bool:
    """Whether the file holds all of an array; HDF5 would read missing data as zeros."""
    if not array.size:
        return True
    if array.chunks is None:
        return bool(array.id.get_storage_size() >= array.nbytes)
    counts = [-(-side // chunk) for side, chunk in zip(array.shape, array.chunks, strict=True)]
    return bool(array.id.get_num_chunks() >= math.prod(counts))


def _say(name: str, limit: int = 80) -> str:
    """Return a name as one line of printable characters, cut off at `limit`."""
    text = ascii(name)[1:-1]
    return text if len(text) <= limit else f"{text[:limit]}.."


def _read(name: str, node: h5py.Group | h5py.Dataset) -> None:
    dict(node.attrs)
    if isinstance(node, h5py.Dataset):
        if not _is_stored(node):
            raise ValueError(f"{_say(name)} was never completely written")
        node[()]


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]) or None)
