"""Mirrors of Fashion-MNIST.

thaw need not trust a mirror, because it checks the SHA-256 of the decompressed content.
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
"""Environment variable that names a folder with the four files, plain or as .gz."""
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# Amazon serves such sites over http only. That is safe, because digests check the content.
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
        folder: where the files go; it is unchanged if all sources fail.
        sources: the mirrors to try, in order.

    Returns:
        The name of the source that delivered, or "already there".

    Raises:
        ThawError: no source delivered, and the message gives the reason for each. Or `folder` is a
            link, or holds other files.

    """
    complete = kind(folder) == FOLDER and _is_complete(folder)
    # With DVC's `cache.type symlink` the files are links into its cache. Links are accepted only if
    # the files are complete, because thaw then only reads them.
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
    """Remove unfinished copies, which DVC would add to the data set."""
    for path in folder.iterdir():
        if is_left_by_dvc(path):
            path.unlink()


def _keep_only_files(scratch: Path) -> None:
    """Remove everything but the four files from a temporary folder."""
    for entry in scratch.iterdir():
        if kind(entry) == FOLDER:
            shutil.rmtree(entry)
        elif entry.name not in {file.name for file in FILES}:
            entry.unlink()


def _unpack(folder: Path, file: RawFile) -> None:
    """Decompress `file` if it came as .gz, and check its digest."""
    packed, plain = folder / f"{file.name}.gz", folder / file.name
    if packed.is_file():
        plain.write_bytes(_decompress(packed, file))
    if not plain.is_file():
        raise MirrorError(f"{file.name} is missing")
    received = f"{plain.stat().st_size:,} bytes, SHA-256 {sha256(plain)}"
    if received != f"{file.size:,} bytes, SHA-256 {file.sha256}":
        raise MirrorError(
            f"{file.name} holds other bytes: expected {file.size:,} bytes, SHA-256 {file.sha256}. "
            f"Received: {received}"
        )


def _decompress(packed: Path, file: RawFile) -> bytes:
    """Return the content of `packed`, at most one byte more than expected."""
    try:
        with gzip.open(packed) as stream:
            # One byte more shows that a file is too long, and a gzip bomb fills no memory.
            return stream.read(file.size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise MirrorError(f"{packed.name} is not a whole gzip file: {error}") from error


def from_folder(source: Path, to: Path) -> None:
    """Copy the four files, plain or as .gz, from a folder.

    Raises:
        MirrorError: a file is missing, not a regular file, unreadable or too long.

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
        MirrorError: a file was too long, or did not arrive within the tries and the time-outs.

    """
    fetch(url, packed_sizes(), to)


def packed_sizes() -> dict[str, int]:
    """Return the names of the four files as .gz, with the most bytes that each may have."""
    return {f"{file.name}.gz": most_packed(file) for file in FILES}


def most_packed(file: RawFile) -> int:
    """Return how many bytes `file` may have as .gz: slightly more than uncompressed.

    The exact size differs between mirrors: Debian's files are 24 bytes shorter than Zalando's,
    because they do not contain the file name. gzip adds less than this margin even to data that it
    cannot compress.
    """
    return file.size + file.size // 1000 + 1000
