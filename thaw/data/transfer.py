"""Bytes from outside: of a file never more than it may have, and in a time that ends.

What comes is not trusted here: whoever asked for it checks what is in it.
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
"""Seconds without a connection, or without a byte, after which a try is given up."""
WHOLE_TIMEOUT = 900.0
"""Seconds for all files of one mirror with all tries: 31 MB at 35 kB/s."""
TRIES = 3
_BLOCK = 1 << 16
_LONGEST = 400
"""Characters of what is wrong that are shown."""
_OK, _TOO_MANY_REQUESTS, _SERVER_ERROR = 200, 429, 500


class MirrorError(Exception):
    """A mirror does not deliver; the message says why. The next one is tried."""


def fetch(url: str, sizes: Mapping[str, int], to: Path) -> None:
    """Download files from below `url` into a folder, with retries and progress bars.

    Args:
        url: what a file's name is put behind.
        sizes: how many bytes each file may have at most, by its name.
        to: the folder.

    Raises:
        MirrorError: a file did not come whole within the tries, the time-outs and its size.
        OSError: it cannot be written.

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
    """Return what asks servers; proxies are those of the environment, as for other tools."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=_authorities()),
        timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT),
        headers={"Accept-Encoding": "identity"},  # the files are compressed already
        auto_decompress=False,  # whatever the server calls them
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=True,
    )


def _authorities() -> ssl.SSLContext:
    """Return whose certificates are trusted: certifi's, or those that the user's tools take."""
    named = (os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    place = next(filter(None, named), certifi.where())
    try:
        if Path(place).is_dir():
            return ssl.create_default_context(capath=place)
        return ssl.create_default_context(cafile=place)
    except OSError as error:
        raise MirrorError(f"{place} holds no certificates that can be read: {error}") from error


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
        case aiohttp.ClientResponseError():  # the client's own number, not the server's
            return f"answered what is not HTTP: {error.message}"
    return str(error) or type(error).__name__


def _is_passing(error: BaseException) -> bool:
    """Whether trying again may help: not after the server's own no, nor nonsense of its."""
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
        if response.status != _OK:  # no content, a part, a redirect to nowhere
            raise MirrorError(f"answered {response.status} in place of {_OK}")
        with receive(path, most, response.content_length) as write:
            async for block in response.content.iter_chunked(_BLOCK):
                write(block)


@contextmanager
def receive(path: Path, most: int, length: int | None = None) -> Iterator[Callable[[bytes], None]]:
    """Yield what writes a block to `path`, and shows how far it is.

    It raises `MirrorError` for the block that goes beyond `most` bytes, and writes none of it.
    """
    bar = tqdm(desc=path.name, total=length, unit="B", unit_scale=True, disable=None)
    with path.open("wb") as file, bar:

        def write(block: bytes) -> None:
            if file.tell() + len(block) > most:
                raise MirrorError(f"it has more than {most:,} bytes, as it may not")
            bar.update(file.write(block))

        yield write


def copy(stream: IO[bytes], path: Path, most: int) -> None:
    """Copy a stream to `path`, at most so many bytes.

    Raises:
        MirrorError: there are more of them, or they cannot be read.

    """
    with receive(path, most) as write:
        while block := _read(stream):
            write(block)


def _read(stream: IO[bytes]) -> bytes:
    """Read a block; what cannot be read is the mirror's fault, and not that of what is written."""
    try:
        return stream.read(_BLOCK)
    except OSError as error:
        raise MirrorError(f"cannot be read: {error}") from error


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading, and nothing else: a pipe would wait, a device never end.

    Raises:
        MirrorError: it is none, or may not be read.

    """
    if not path.is_file():
        raise MirrorError(f"{path.name} is not a regular file")
    try:
        return path.open("rb")
    except OSError as error:
        raise MirrorError(f"{path.name} cannot be read: {error}") from error


def printable(text: str) -> str:
    """Return what others said as a short line that no terminal takes for commands."""
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}.."
