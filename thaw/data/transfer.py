"""Downloads and copies with a limit on each file's size and on the total time.

This module does not check the content; its callers do.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import aiohttp
import certifi
import tenacity
from tqdm import tqdm

CONNECT_TIMEOUT = 10.0
READ_TIMEOUT = 30.0
"""Seconds without a byte after which a try fails; `CONNECT_TIMEOUT` is for the connection."""
WHOLE_TIMEOUT = 900.0
"""Seconds for all files and tries of one mirror: enough for 31 MB at 35 kB/s."""
TRIES = 3
_BLOCK = 1 << 16
_LONGEST = 400
"""Characters of a mirror's message that are printed."""
_OK, _TOO_MANY_REQUESTS, _SERVER_ERROR = 200, 429, 500


class MirrorError(Exception):
    """A mirror failed; the message says why. The caller tries the next one."""


def fetch(url: str, sizes: Mapping[str, int], to: Path) -> None:
    """Download files from below `url` into a folder, with retries and progress bars.

    Args:
        url: the address of the files' folder; it ends with a slash.
        sizes: the names of the files, with the most bytes that each may have.
        to: the folder for the files.

    Raises:
        MirrorError: a file was too long, or did not arrive within the tries and the time-outs.
        OSError: a file cannot be written.

    """
    asyncio.run(_fetch(url, sizes, to))


async def _fetch(url: str, sizes: Mapping[str, int], to: Path) -> None:
    try:
        async with asyncio.timeout(WHOLE_TIMEOUT), _session() as session:
            for name, most in sizes.items():
                await _fetch_named(session, url + name, to / name, most)
    except TimeoutError as error:
        raise MirrorError(f"not done within {WHOLE_TIMEOUT:g} s") from error


def _session() -> aiohttp.ClientSession:
    """Return an HTTP session; it uses the proxies that the environment names."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_authorities()),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT),
        headers={"Accept-Encoding": "identity"},  # the files are compressed already
        auto_decompress=False,  # even if the server declares gzip: callers expect the .gz itself
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
    )


def _authorities() -> ssl.SSLContext:
    """Return the trusted certificates: those that the user's variables name, or certifi's."""
    named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    place = next(filter(None, named), certifi.where())
    try:
        if Path(place).is_dir():
            return ssl.create_default_context(capath=place)
        return ssl.create_default_context(cafile=place)
    except OSError as error:
        raise MirrorError(f"{place} holds no readable certificates: {error}") from error


async def _fetch_named(session: aiohttp.ClientSession, url: str, path: Path, most: int) -> None:
    try:
        await _fetch_file(session, url, path, most)
    except TimeoutError as error:
        within = f"{CONNECT_TIMEOUT:g} s to connect, {READ_TIMEOUT:g} s to read"
        raise MirrorError(f"{path.name}: no answer within {within}") from error
    except (aiohttp.ClientError, MirrorError, ValueError) as error:
        raise MirrorError(f"{path.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    match error:
        case aiohttp.TooManyRedirects():
            return "redirects without end"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return f"redirects to {error.args[0]}, which is no address of a web server"
        case aiohttp.ClientResponseError(__cause__=None):
            return f"{error.status} {error.message}"
        case aiohttp.ClientResponseError():  # the status is aiohttp's own: it failed to parse
            return f"answered what is not HTTP: {error.message}"
    return str(error) or type(error).__name__


def _is_passing(error: BaseException) -> bool:
    """Whether a retry may help: it does not if the server refuses or its answer is invalid."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status >= _SERVER_ERROR or error.status == _TOO_MANY_REQUESTS
    broken = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
    return isinstance(error, broken)


@tenacity.retry(
    retry=tenacity.retry_if_exception(_is_passing),
    stop=tenacity.stop_after_attempt(TRIES),
    wait=tenacity.wait_exponential(multiplier=0.5, max=10),
    reraise=True,
)
async def _fetch_file(session: aiohttp.ClientSession, url: str, path: Path, most: int) -> None:
    async with session.get(url, raise_for_status=True) as response:
        if response.status != _OK:  # 204, 206, or a redirect without a target
            raise MirrorError(f"answered {response.status} instead of {_OK}")
        with receive(path, most, response.content_length) as write:
            async for block in response.content.iter_chunked(_BLOCK):
                write(block)


@contextmanager
def receive(path: Path, most: int, length: int | None = None) -> Iterator[Callable[[bytes], None]]:
    """Yield a function that writes a block of bytes to `path` and moves a progress bar.

    The function raises `MirrorError` if a block would make the file longer than `most` bytes, and
    does not write that block. `length` is the expected size for the bar.
    """
    bar = tqdm(desc=path.name, total=length, unit="B", unit_scale=True, disable=None)
    with path.open("wb") as file, bar:

        def write(block: bytes) -> None:
            if file.tell() + len(block) > most:
                raise MirrorError(f"it has more than the allowed {most:,} bytes")
            bar.update(file.write(block))

        yield write


def copy(stream: IO[bytes], path: Path, most: int) -> None:
    """Copy a stream of at most `most` bytes to `path`.

    Raises:
        MirrorError: the stream is longer, or cannot be read.

    """
    with receive(path, most) as write:
        while block := _read(stream):
            write(block)


def _read(stream: IO[bytes]) -> bytes:
    """Read a block; an error is the mirror's fault here, while a failed write is the disk's."""
    try:
        return stream.read(_BLOCK)
    except OSError as error:
        raise MirrorError(f"cannot be read: {error}") from error


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading: a pipe could block, and a device may never end.

    Raises:
        MirrorError: it is not a regular file, or cannot be read.

    """
    if not path.is_file():
        raise MirrorError(f"{path.name} is not a regular file")
    try:
        return path.open("rb")
    except OSError as error:
        raise MirrorError(f"{path.name} cannot be read: {error}") from error


def printable(text: str) -> str:
    """Return text from outside as one short line without control characters.

    A terminal would obey such characters.
    """
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}.."
