"""What a mirror may answer: python -m tests.reliability.mirrors.

Each answer is given to thaw's download in a process of its own, with time-outs of seconds and a
mirror behind it that delivers. It must be passed over with a reason, and in time; what a healthy
mirror may answer, too, must be taken. Needs openssl and, for Debian's packages, dpkg-deb.
"""

import contextlib
import gzip
import hashlib
import io
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from tests.reliability.answers import ANSWERS, CONTENT, HEALTHY, PACKED, serve
from thaw.data import debian, mirrors, transfer
from thaw.data.fashion_mnist import RawFile
from thaw.data.mirrors import Mirror, download, fetch_url

FILES = tuple(
    RawFile(f"file-{i}", len(CONTENT), hashlib.sha256(CONTENT).hexdigest()) for i in range(4)
)
TIMEOUTS = {"CONNECT_TIMEOUT": 1.0, "READ_TIMEOUT": 1.0, "WHOLE_TIMEOUT": 5.0}
HANG = 20
"""Seconds after which an answer counts as never dealt with."""
MOST_WRITTEN = 100_000_000
"""Bytes of one file: whoever writes as many would fill the disk."""
MOST_MEMORY = 300_000_000
"""Bytes that dealing with an answer may take on top."""
TAKEN, PASSED_OVER = "taken", "passed over"
NOBODY, ELSEWHERE = "http://127.0.0.1:9/", "http://thaw.invalid/"
"""A port where nobody listens, and a name that no host has (RFC 6761)."""
SELF_SIGNED = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
    *("-subj", "/CN=127.0.0.1", "-keyout", "-"),
)

Fetch = Callable[[Path], None]


class Tried(NamedTuple):
    """An answer, what came of it, and after how many seconds."""

    answer: str
    outcome: str
    seconds: float


def _deliver(to: Path) -> None:
    for file in FILES:
        (to / file.name).write_bytes(CONTENT)


def _outcome(fetch: Fetch) -> str:
    """Download, with one mirror before one that delivers; return what came of it."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as said:
        raw = Path(folder) / "raw"
        try:
            source = download(raw, [Mirror("it", fetch), Mirror("good", _deliver)])
        except Exception as error:  # whatever it is, it is the finding
            return f"traceback: {''.join(traceback.format_exception_only(error)).strip()}"
        if {path.name: path.read_bytes() for path in raw.iterdir()} != dict.fromkeys(
            (file.name for file in FILES), CONTENT
        ):
            return "silent: other bytes were taken"
    return TAKEN if source == "it" else said.getvalue().strip().replace(" it: ", ": ")


def _child(fetch: Fetch, to: Connection) -> None:
    """Say what comes of a mirror in a process that may write, take and wait only so much."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_WRITTEN, MOST_WRITTEN))
    vars(mirrors)["FILES"] = FILES
    vars(transfer).update(TIMEOUTS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = _outcome(fetch)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    to.send(f"takes {taken:,} bytes of memory" if taken > MOST_MEMORY else outcome)


def tried(answer: str, fetch: Fetch) -> Tried:
    """Return what comes of a mirror."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_child, args=(fetch, there))
    begin = time.monotonic()
    process.start()
    outcome = here.recv() if here.poll(HANG) else "hang"
    seconds = time.monotonic() - begin
    process.kill()
    process.join()
    return Tried(answer, outcome, seconds)


def from_web(url: str, **environment: str) -> Fetch:
    """Return a mirror on the web, with what is set in the environment of its process."""

    def fetch(to: Path) -> None:
        os.environ.update(environment)
        fetch_url(url, to)

    return fetch


def web() -> Iterator[Tried]:
    """Try each answer of a server, and what may be in the way to it."""
    for name, answer in ANSWERS.items():
        with serve(answer) as url:
            yield tried(name, from_web(url))
    with serve(ANSWERS["no HTTP"]) as url:
        yield tried("no TLS behind https://", from_web(url.replace("http:", "https:")))
        yield tried("a proxy's no HTTP", from_web(ELSEWHERE, http_proxy=url))
        yield tried("a proxy of another kind", from_web(ELSEWHERE, http_proxy="socks5://[::1"))
        yield tried("no certificates to trust", from_web(url, REQUESTS_CA_BUNDLE="/dev/null/x"))
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "key-and-certificate.pem"
        key = subprocess.run(SELF_SIGNED, check=True, capture_output=True).stdout
        pem.write_bytes(key)
        with serve(ANSWERS["an empty file"], certificate=pem) as url:
            yield tried("a certificate that nobody signed", from_web(url))
    yield tried("no such host", from_web(ELSEWHERE))
    yield tried("nobody listens", from_web(NOBODY))
    yield tried("nobody listens where the proxy is", from_web(ELSEWHERE, http_proxy=NOBODY))


def _link_to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


FOLDERS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a link to /dev/zero": _link_to("/dev/zero"),
    "a link to itself": _link_to(FILES[0].name),
    "a link to a file that cannot be read": _link_to("/proc/self/mem"),
    "a folder": Path.mkdir,
    "a file of a terabyte, mostly hole": _sparse,
}
"""What may stand in the user's own folder in place of the first file."""


def folders() -> Iterator[Tried]:
    """Try each kind of thing in a folder of the user's."""
    for name, make in FOLDERS.items():
        with tempfile.TemporaryDirectory() as folder:
            _deliver(at := Path(folder))
            (at / FILES[0].name).unlink()
            make(at / FILES[0].name)
            yield tried(f"in a folder: {name}", partial(mirrors.from_folder, at))


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    """Return an entry of Debian's package, where the four files lie."""
    entry = tarfile.TarInfo(f"./{debian.FOLDER}/{name}.gz")
    entry.type, entry.linkname = kind, target
    return entry


FIRST = FILES[0].name
OTHERS = [(member(file.name), PACKED) for file in FILES[1:]]
PACKAGES = {
    "a pipe": [(member(FIRST, tarfile.FIFOTYPE), b""), *OTHERS],
    "a link to /dev/zero": [(member(FIRST, tarfile.SYMTYPE, "/dev/zero"), b""), *OTHERS],
    "a link to itself": [(member(FIRST, tarfile.SYMTYPE, f"{FIRST}.gz"), b""), *OTHERS],
    "a link to /etc/passwd": [(member(FIRST, tarfile.LNKTYPE, "/etc/passwd"), b""), *OTHERS],
    "30 MB of zeros": [(member(FIRST), bytes(30_000_000)), *OTHERS],
    "30 MB beside it": [(member("more"), bytes(30_000_000)), (member(FIRST), PACKED), *OTHERS],
    "nothing": OTHERS,
    "it": [(member(FIRST), PACKED), *OTHERS],
}
"""What a package of Debian's may hold in place of the first file."""


def write_package(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Write a package as dpkg-deb reads it: deb(5)."""
    control = b"Package: some\nVersion: 1\nArchitecture: all\nMaintainer: some\nDescription: some\n"
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": _archive([(tarfile.TarInfo("control"), control)]),
        "data.tar.gz": _archive(members),
    }
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, data in parts.items():
            file.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode())
            file.write(data + b"\n" * (len(data) % 2))


def _archive(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for entry, data in members:
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return gzip.compress(file.getvalue())


def packages() -> Iterator[Tried]:
    """Try each package that apt-get may deliver."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "some.deb"
        for name, members in PACKAGES.items():
            write_package(package, members)
            yield tried(f"in Debian's package: {name}", partial(from_package, package))
        package.write_bytes(b"<!DOCTYPE html>")
        yield tried("no package of Debian's", partial(from_package, package))


def from_package(package: Path, to: Path) -> None:
    """Be Debian's mirror, where apt-get has delivered a package."""
    debian.unpack_package(Path(shutil.copy(package, to)), mirrors.packed_sizes(), to)


def main() -> None:
    """Print a line for each answer; end with 1 where one was not dealt with."""
    wrong = 0
    healthy = {*HEALTHY, "in Debian's package: it"}
    print("| Answer | Outcome | Seconds |\n|---|---|---|")
    for each in (*web(), *folders(), *packages()):
        expected = TAKEN if each.answer in healthy else PASSED_OVER
        wrong += not each.outcome.startswith(expected)
        print(f"| {each.answer} | {each.outcome} | {each.seconds:.1f} |", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
