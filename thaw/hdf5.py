"""HDF5 files that may be damaged.

The HDF5 library does not always refuse those: on a few in ten thousand it fills the memory, goes in
circles or crashes, which no `except` survives. So a file from outside is first read in a process of
its own: this module, run as a program.
"""

import os
import subprocess
import sys
from pathlib import Path

import h5py

from thaw.files import DAMAGED_HDF5

MEMORY = 2_000_000_000
"""Bytes of address space that reading may take; ResNet50's largest array has 9.4 million."""
TOO_LARGE = f"it asks for more than {MEMORY:,} bytes of memory"
SECONDS = 20


def flaw(path: Path) -> str:
    """Return what keeps an HDF5 file from being read to its end, "" where nothing does."""
    command = [sys.executable, "-m", __name__, str(path.resolve())]
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each thread would ask for memory
    try:
        subprocess.run(
            command,
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
            env=alone,
        )
    except subprocess.TimeoutExpired:
        return f"reading does not end within {SECONDS} s"
    except subprocess.CalledProcessError as error:
        if error.returncode < 0:
            return f"the HDF5 library crashes on it (signal {-error.returncode})"
        return error.stderr.strip()
    return ""


def _main(path: str) -> str:
    """Read everything in `path`, within `MEMORY`; return what went wrong."""
    _limit_memory()
    try:
        with h5py.File(path) as file:
            _read("/", file)
            file.visititems(_read)
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


def _read(name: str, node: h5py.Group | h5py.Dataset) -> None:
    dict(node.attrs)
    if isinstance(node, h5py.Dataset):
        if node.size and node.size * node.dtype.itemsize > MEMORY:
            raise MemoryError
        node[()]


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1]) or None)
