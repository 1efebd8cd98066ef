"""Where Fashion-MNIST can be had from.

Whatever the mirror, what counts is the decompressed content, checked by SHA-256.
"""

import gzip
import os
import shutil
import subprocess
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import tenacity
from tqdm import tqdm

from thaw import ThawError
from thaw.fashion_mnist import FILES, RawFile
from thaw.files import atomic_folder, sha256
from thaw.places import FILE, FOLDER, check_only, is_left_by_dvc, kind

FOLDER_VARIABLE = "THAW_FASHION_MNIST"
"""Environment variable with a folder that holds the four files, plain or as .gz."""
KERAS_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
# Amazon serves sites of this kind over http only; the digests vouch for the content.
ZALANDO_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("usr/share/datasets/fashion-mnist")
# Root's apt-get downloads as the user _apt, whom a container with root alone has not; the digests
# vouch for the content.
APT_AS_ITS_CALLER = "-oAPT::Sandbox::User="

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
"""Seconds without a connection, or without a byte, after which a try is given up."""
PROCESS_TIMEOUT = 300.0
"""Seconds for one call of apt-get or dpkg-deb."""
TRIES = 3
_BLOCK = 1 << 16


class MirrorError(Exception):
    """A mirror does not deliver; the message says why. The next one is tried."""


@dataclass(frozen=True)
class Mirror:
    """A place that Fashion-MNIST can be had from."""

    name: str
    fetch: Callable[[Path], None]
    """Puts the four files, plain or as .gz, into a folder, or raises `MirrorError`."""


def mirrors() -> list[Mirror]:
    """Return the mirrors in the order in which they are tried."""
    named = os.environ.get(FOLDER_VARIABLE)
    folder = [Mirror(f"folder {named}", lambda to: _from_folder(Path(named), to))] if named else []
    return [
        *folder,
        Mirror(f"Keras ({KERAS_URL})", lambda to: fetch_url(KERAS_URL, to)),
        Mirror(f"Zalando ({ZALANDO_URL})", lambda to: fetch_url(ZALANDO_URL, to)),
        Mirror(f"Debian (package {DEBIAN_PACKAGE})", _from_debian),
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
    check_only(folder, [file.name for file in FILES])
    if _is_complete(folder):
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
            reasons.append(f"{source.name}: {error}")
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
    names = {file.name for file in FILES}
    for entry in scratch.iterdir():
        if kind(entry) == FOLDER:
            shutil.rmtree(entry)
        elif entry.name not in names:
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


def _from_folder(source: Path, to: Path) -> None:
    for file in FILES:
        names = (file.name, f"{file.name}.gz")
        name = next((name for name in names if _is_readable(source / name)), None)
        if name is None:
            raise MirrorError(f"holds neither {' nor '.join(names)} that can be read")
        shutil.copyfile(source / name, to / name)


def _is_readable(path: Path) -> bool:
    """Whether it is a file that may be read: no folder, and no FIFO, which would wait for ever."""
    return kind(path, follow=True) == FILE and os.access(path, os.R_OK)


def fetch_url(url: str, to: Path) -> None:
    """Download the four files as .gz from below `url`, each with retries and a progress bar.

    Raises:
        MirrorError: a file did not come whole within the tries and time-outs.

    """
    with requests.Session() as session:
        session.headers["Accept-Encoding"] = "identity"  # the files are compressed already
        for file in FILES:
            name = f"{file.name}.gz"
            try:
                _fetch_file(session, url + name, to / name)
            except requests.RequestException as error:
                raise MirrorError(f"{name}: {_reason(error)}") from error


def _is_passing(error: BaseException) -> bool:
    """Whether trying again may help: not after the server's own no."""
    status = error.response.status_code if isinstance(error, requests.HTTPError) else 500
    return isinstance(error, requests.RequestException) and (status >= 500 or status == 429)


@tenacity.retry(
    retry=tenacity.retry_if_exception(_is_passing),
    stop=tenacity.stop_after_attempt(TRIES),
    wait=tenacity.wait_exponential(multiplier=0.5, max=10),
    reraise=True,
)
def _fetch_file(session: requests.Session, url: str, path: Path) -> None:
    with session.get(url, stream=True, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT)) as response:
        response.raise_for_status()
        length = int(response.headers.get("Content-Length", 0))
        _save(response.iter_content(_BLOCK), path, length)  # raises where it is cut off


def _save(blocks: Iterator[bytes], path: Path, length: int) -> None:
    with (
        path.open("wb") as file,
        tqdm(desc=path.name, total=length or None, unit="B", unit_scale=True, disable=None) as bar,
    ):
        for block in blocks:
            bar.update(file.write(block))


def _reason(error: requests.RequestException) -> str:
    """Return the innermost cause: requests wraps it in several layers of its own words."""
    if isinstance(error, requests.HTTPError):
        return str(error)
    cause: BaseException = error
    while cause.__context__ is not None:
        cause = cause.__context__
    if isinstance(error, requests.Timeout) or isinstance(cause, TimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:g} s to connect, {READ_TIMEOUT:g} s to read"
    return str(cause) or type(error).__name__


def _from_debian(to: Path) -> None:
    """Download Debian's package with apt-get and unpack it; neither needs root."""
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise MirrorError(f"{' and '.join(missing)} not found: this is not a Debian system")
    work = to / "debian"
    work.mkdir()
    try:
        _call("apt-get", APT_AS_ITS_CALLER, "download", DEBIAN_PACKAGE, folder=work)
    except MirrorError:
        options = [APT_AS_ITS_CALLER, *_private_package_lists(work)]
        _call("apt-get", *options, "update", folder=work)
        _call("apt-get", *options, "download", DEBIAN_PACKAGE, folder=work)
    packages = sorted(work.glob("*.deb"))
    if not packages:
        raise MirrorError("apt-get delivered no package")
    _call("dpkg-deb", "-x", packages[-1].name, "content", folder=work)
    _from_folder(work / "content" / DEBIAN_FOLDER, to)


def _private_package_lists(work: Path) -> list[str]:
    """Return apt-get's options for keeping its lists in `work`, where no root is needed."""
    for name in ("lists/partial", "cache/archives/partial"):
        (work / name).mkdir(parents=True)
    return [
        f"-oDir::State::Lists={(work / 'lists').resolve()}",
        f"-oDir::Cache={(work / 'cache').resolve()}",
        "-oDebug::NoLocking=true",
    ]


def _call(*command: str, folder: Path) -> None:
    """Run a tool quietly in `folder`."""
    try:
        subprocess.run(
            command,
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=PROCESS_TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise MirrorError(f"{command[0]} took over {PROCESS_TIMEOUT:.0f} s") from error
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or error.stdout.strip() or "nothing").splitlines()[-1]
        raise MirrorError(
            f"`{' '.join(command[:3])}` ended with {error.returncode}: {said}"
        ) from error
