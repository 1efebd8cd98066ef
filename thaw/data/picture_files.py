"""The files of pictures: decoded on all cores, and again whenever their pixels are needed."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar

import h5py
import joblib
import numpy as np
from numpy.typing import NDArray

from thaw.data.decoding import SIDE, PictureError, is_gray, safe_pillow
from thaw.data.listing import Source
from thaw.data.problems import shown
from thaw.support.errors import ThawError

_AT_ONCE = 8
"""Pictures in one task of a thread."""
_AHEAD = 2
"""Tasks for each thread that are begun before their turn: more would only take memory."""
_WHOLE = -1
"""Stands in HDF5 for the size of a picture that is a file of its own."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Decoded:
    """A picture: its canonical pixels if they were asked for, their digest, and whether gray."""

    pixels: NDArray[np.uint8] | None
    digest: bytes
    gray: bool


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """The files of pictures that have been read once.

    Attributes:
        folder: where they are.
        names: of each below `folder`, with slashes, or `shard.tar/member`; sorted. What is not
            UTF-8 is written with escapes.
        sources: where the bytes of each are.
        digests: SHA-256 of the canonical pixels of each.

    """

    folder: Path
    names: tuple[str, ...]
    sources: tuple[Source, ...] = field(repr=False)
    digests: tuple[bytes, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def decode(self, positions: NDArray[np.int64] | Sequence[int]) -> NDArray[np.uint8]:
        """Return the canonical pixels of some pictures, (len(positions), 224, 224, 3) uint8.

        Raises:
            ThawError: a file has changed since it was first read, or can no longer be read.

        """
        pixels = np.empty((len(positions), SIDE, SIDE, 3), np.uint8)
        sources = [self.sources[i] for i in positions]
        with closing(decode_all(sources, pixels=True)) as outcomes:
            for row, (position, outcome) in enumerate(zip(positions, outcomes, strict=True)):
                if isinstance(outcome, PictureError):
                    raise self._changed(position, f"it {outcome}") from outcome
                if outcome.pixels is None or outcome.digest != self.digests[position]:
                    raise self._changed(position, "other pixels")
                pixels[row] = outcome.pixels
        return pixels

    def _changed(self, position: int, received: str) -> ThawError:
        return ThawError(
            f"{shown(self.names[position])} in {shown(str(self.folder))} has changed since thaw "
            f"first read it. Received: {received}. Leave the folder as it is while thaw runs, and "
            "run again."
        )

    def write(self, file: h5py.File) -> None:
        """Write everything but the folder to an HDF5 file; `read` is the way back."""
        paths = [os.path.relpath(source.path, self.folder) for source in self.sources]
        file["names"] = np.array([name.encode() for name in self.names], h5py.string_dtype())
        # Opaque bytes: the names of files need not be text.
        file["paths"] = np.array(
            [os.fsencode(path) for path in paths], h5py.special_dtype(vlen=bytes)
        )
        file["starts"] = np.array([source.start for source in self.sources])
        sizes = [_WHOLE if source.size is None else source.size for source in self.sources]
        file["sizes"] = np.array(sizes)
        file["digests"] = np.frombuffer(b"".join(self.digests), np.uint8).reshape(len(self), -1)

    @classmethod
    def read(cls, file: h5py.File, folder: Path) -> Self:
        """Return the files of pictures in `folder` that `write` described."""
        columns = (file["paths"][:], file["starts"][:].tolist(), file["sizes"][:].tolist())
        sources = (
            Source(folder / os.fsdecode(path), start, None if size == _WHOLE else size)
            for path, start, size in zip(*columns, strict=True)
        )
        names = (name.decode() for name in file["names"][:])
        digests = (digest.tobytes() for digest in file["digests"][:])
        return cls(folder, tuple(names), tuple(sources), tuple(digests))


def decode_all(
    sources: Sequence[Source], *, pixels: bool
) -> Generator[Decoded | PictureError, None, None]:
    """Decode on all cores; yield the outcomes in order."""

    def some(start: int) -> list[Decoded | PictureError]:
        return [_outcome(source, pixels) for source in sources[start : start + _AT_ONCE]]

    with safe_pillow():
        for outcomes in _in_order(some, range(0, len(sources), _AT_ONCE)):
            yield from outcomes


def _outcome(source: Source, keep_pixels: bool) -> Decoded | PictureError:
    try:
        pixels = source.decode()
    except PictureError as error:
        return error
    digest = hashlib.sha256(pixels.data).digest()
    return Decoded(pixels if keep_pixels else None, digest, is_gray(pixels))


def _in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Call a function on all cores, and yield the results in order.

    joblib's generator does not wait for a slow reader: all pixels could pile up in memory. Here at
    most `_AHEAD` calls for each core are done before their turn.
    """
    cores = joblib.cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
