"""Mirrors of Fashion-MNIST.

Any mirror will do: only the decompressed content counts, and SHA-256 checks it.
"""

import gzip
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from thaw.data import debian
from thaw.data.fashion_mnist import FILES, RawFile
from thaw.data.transfer import MirrorError, copy, fetch, open_regular, printable
from thaw.support.errors import ThawError
from thaw.support.files import atomic_folder, sha256
from thaw.support.places import FOLDER, check_only, is_left_by_dvc, kind

FOLDER_VARIABLE = "THAW_FASHION_MNIST"
"""Environment variable with a folder that holds the four files, plain or as .gz."""
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# Amazon serves sites of this kind over http only; the digests vouch for the content.
ZALANDO_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"


@dataclass(frozen=True)
class Mirror:
    """A place to fetch Fashion-MNIST from."""

    name: str
    fetch: Callable[[Path], None]
    """Puts the four files, plain or as .gz, into a folder, or raises `MirrorError`."""


def mirrors() -> list[Mirror]:
    """Return the mirrors in the order in which they are tried."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = [Mirror(f"folder {named}", lambda to: from_folder(Path(named), to))] if named else []
    return [
        *folder,
        Mirror(f"Keras ({KERAS_URL})", lambda to: fetch_url(KERAS_URL, to)),
        Mirror(f"Zalando ({ZALANDO_URL})", lambda to: fetch_url(ZALANDO_URL, to)),
        Mirror(f"Debian (package {debian.PACKAGE})", lambda to: debian.fetch(packed_sizes(), to)),
    ]


def download(folder: Path, sources: list[Mirror]) -> str:
    """Fill `folder` with the four files from the first source that delivers them.

    Files that are there already are not fetched again.

    Args:
        folder: where the files go; if all sources fail it stays as it was.
        sources: what to try, in order.

    Returns:
        The name of the source that delivered.

    Raises:
        ThawError: no source delivered; the message lists each with its reason. Or `folder` is a
            link, or holds anything else.

    """
    complete = kind(folder) == FOLDER and _is_complete(folder)
    # With DVC's `cache.type symlink` the four are links into its cache: whole, they are only read.
    check_only(folder, {file.name for file in FILES}, links=complete)
    if complete:
        _drop_left_by_dvc(folder)
        return "already there"
    reasons = []
    for source in sources:
        try:
            with atomic_folder(folder) as scratch:
                source.fetch(scratch)
                for file in FILES:
                    _unpack(scratch, file)
                _keep_only_files(scratch)
            return source.name
        except MirrorError as error:
            reasons.append(printable(f"{source.name}: {error}"))
            print(f"passed over {reasons[-1]}", flush=True)
    listed = "\n".join(f"  {reason}" for reason in reasons)
    raise ThawError(
        f"Fashion-MNIST cannot be had from any mirror:\n{listed}\n"
        f"Put {', '.join(file.name for file in FILES)} (or the same as .gz) into a folder and name "
        f"it: {FOLDER_VARIABLE}=/the/folder dvc repro"
    )


def _is_complete(folder: Path) -> bool:
    return all(
        (folder / file.name).is_file() and sha256(folder / file.name) == file.sha256
        for file in FILES
    )


def _drop_left_by_dvc(folder: Path) -> None:
    """Remove what DVC would take for a part of the data set."""
    for path in folder.iterdir():
        if is_left_by_dvc(path):
            path.unlink()


def _keep_only_files(scratch: Path) -> None:
    """Remove what a source left beside the four files, in a folder that was made for it."""
    for entry in scratch.iterdir():
        if kind(entry) == FOLDER:
            shutil.rmtree(entry)
        elif entry.name not in {file.name for file in FILES}:
            entry.unlink()


def _unpack(folder: Path, file: RawFile) -> None:
    """Decompress `file` if it came as .gz, and hold it to its digest."""
    packed, plain = folder / f"{file.name}.gz", folder / file.name
    if packed.is_file():
        plain.write_bytes(_decompress(packed, file))
    if not plain.is_file():
        raise MirrorError(f"{file.name} is not there")
    received = f"{plain.stat().st_size:,} bytes, SHA-256 {sha256(plain)}"
    if received != f"{file.size:,} bytes, SHA-256 {file.sha256}":
        raise MirrorError(
            f"{file.name} holds other bytes: expected {file.size:,} bytes, SHA-256 {file.sha256}. "
            f"Received: {received}"
        )


def _decompress(packed: Path, file: RawFile) -> bytes:
    """Return what `packed` holds, reading at most one byte more than there should be."""
    try:
        with gzip.open(packed) as stream:
            return stream.read(file.size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MirrorError(f"{packed.name} is not a whole gzip file: {error}") from error


def from_folder(source: Path, to: Path) -> None:
    """Copy the four files, plain or as .gz, from a folder.

    Raises:
        MirrorError: one is not there, is no regular file, cannot be read or is too long.

    """
    for file in FILES:
        sizes = {file.name: file.size, f"{file.name}.gz": most_packed(file)}
        name = next((name for name in sizes if os.access(source / name, os.R_OK)), None)
        if name is None:
            raise MirrorError(f"holds neither {' nor '.join(sizes)} that can be read")
        with open_regular(source / name) as stream:
            copy(stream, to / name, sizes[name])


def fetch_url(url: str, to: Path) -> None:
    """Download the four files as .gz from below `url`.

    Raises:
        MirrorError: a file did not come whole within the tries, the time-outs and its size.

    """
    fetch(url, packed_sizes(), to)


def packed_sizes() -> dict[str, int]:
    """Return how many bytes each of the four may have as .gz, by its name as such."""
    return {f"{file.name}.gz": most_packed(file) for file in FILES}


def most_packed(file: RawFile) -> int:
    """Return how many bytes `file` may have as .gz: as many as not compressed, and a bit more.

    There is no size that it must have: each mirror compresses it in its own way, and Debian's is
    24 bytes shorter than Zalando's, having no name in it. To what it cannot compress, gzip adds
    less than this.
    """
    return file.size + file.size // 1000 + 1000
