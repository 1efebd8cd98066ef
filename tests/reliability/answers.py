"""What a server may answer to a download: bytes as they come over the wire."""

import contextlib
import gzip
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTENT = b"thaw" * 300
"""What stands for each of Fashion-MNIST's four files."""


@dataclass(frozen=True)
class Answer:
    """What a server says to every request: `first`, then `again` until nobody listens."""

    first: bytes = b""
    again: bytes = b""
    pause: float = 0.0
    """Seconds before each `again`."""
    reset: bool = False
    """Whether the connection is cut off instead of closed."""


def reply(body: bytes = b"", *headers: str, status: str = "200 OK") -> bytes:
    """Return a response as HTTP/1.1 has it, without any header that is not named."""
    lines = [f"HTTP/1.1 {status}", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + body


def redirect(*location: str, status: str = "302 Found") -> Answer:
    """Return an answer that sends on to somewhere."""
    return Answer(
        reply(b"", *(f"Location: {to}" for to in location), "Content-Length: 0", status=status)
    )


PACKED = gzip.compress(CONTENT)
LENGTH = f"Content-Length: {len(PACKED)}"
BOMB = gzip.compress(bytes(30_000_000))
PAGE = b"<!DOCTYPE html><title>Log in to the hotel's network</title>"
HEALTHY = {
    "a whole file, without its length": Answer(reply(PACKED)),
    "a whole file in chunks": Answer(
        reply(
            f"{len(PACKED):x}\r\n".encode() + PACKED + b"\r\n0\r\n\r\n",
            "Transfer-Encoding: chunked",
        ),
    ),
    "a whole file, named as Content-Encoding: gzip": Answer(
        reply(PACKED, "Content-Encoding: gzip", LENGTH)
    ),
}
"""What must be taken."""
ANSWERS = {
    "nothing, and closes": Answer(),
    "nothing, and stays silent": Answer(again=b"", pause=60),
    "nothing, and cuts off": Answer(reset=True),
    "half a file, and closes": Answer(reply(PACKED[:20], LENGTH)),
    "half a file, and cuts off": Answer(reply(PACKED[:20], LENGTH), reset=True),
    "half a file, and stays silent": Answer(reply(PACKED[:20], LENGTH), pause=60),
    "an endless file": Answer(reply(), bytes(1 << 16)),
    "an endless file in chunks": Answer(
        reply(b"", "Transfer-Encoding: chunked"), b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    ),
    "a byte every half a second": Answer(reply(b"", LENGTH), b"\x1f", pause=0.5),
    "headers a byte every half a second": Answer(b"HTTP/1.1 200 OK\r\nX: ", b"x", pause=0.5),
    "endless headers": Answer(b"HTTP/1.1 200 OK\r\n", b"X-More: 1\r\n" * 1000),
    "an endless header": Answer(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536),
    "endless interim answers (100)": Answer(b"", reply(status="100 Continue") * 100),
    "Content-Length: abc": Answer(reply(PACKED, "Content-Length: abc")),
    "Content-Length: -1": Answer(reply(PACKED, "Content-Length: -1")),
    "Content-Length of 40 digits": Answer(reply(PACKED, f"Content-Length: {'9' * 40}")),
    "two Content-Lengths": Answer(reply(PACKED, LENGTH, "Content-Length: 7")),
    "a chunk of length xyz": Answer(reply(b"xyz\r\n", "Transfer-Encoding: chunked")),
    "an endless length of a chunk": Answer(reply(b"", "Transfer-Encoding: chunked"), b"0" * 65536),
    "an endless extension of a chunk": Answer(
        reply(b"1;", "Transfer-Encoding: chunked"), b"x" * 65536
    ),
    "endless trailers": Answer(
        reply(b"0\r\n", "Transfer-Encoding: chunked"), b"X-More: 1\r\n" * 1000
    ),
    "an unknown Transfer-Encoding": Answer(reply(PACKED, "Transfer-Encoding: rot13", LENGTH)),
    "redirect to itself": redirect("{url}file-0.gz"),
    "redirect to file:///etc/passwd": redirect("file:///etc/passwd"),
    "redirect to ftp://": redirect("ftp://127.0.0.1/file"),
    "redirect to http://[": redirect("http://["),
    "redirect to port 99999": redirect("http://127.0.0.1:99999/"),
    "redirect to a host of 300 letters": redirect(f"http://{'x' * 300}/"),
    "redirect to bytes that are no text": redirect("http://127.0.0.1/\udcff\udcfe"),
    "redirect to a host that is no text": redirect("http://\udcff\udcfe/"),
    "redirect to nothing": redirect(""),
    "redirect without a Location": redirect(),
    "304 Not Modified": Answer(reply(status="304 Not Modified")),
    "204 No Content": Answer(reply(status="204 No Content")),
    "206 Partial Content": Answer(reply(PACKED[:20], "Content-Length: 20", status="206 Partial")),
    "503, Retry-After: a day": Answer(
        reply(b"", "Retry-After: 86400", "Content-Length: 0", status="503 Later")
    ),
    "429, Retry-After: a word": Answer(
        reply(b"", "Retry-After: soon", "Content-Length: 0", status="429 Slower")
    ),
    "407 of a proxy": Answer(reply(b"", "Content-Length: 0", status="407 Who are you")),
    "a status of 999999": Answer(reply(status="999999 What")),
    "a reason that colours the terminal": Answer(reply(status="404 \x1b[31m\udcff")),
    "no HTTP": Answer(b"220 ftp.example.org FTP server ready\r\n"),
    "HTTP/9.9": Answer(b"HTTP/9.9 200 OK\r\n\r\n"),
    "a page of a hotel's network": Answer(reply(PAGE, f"Content-Length: {len(PAGE)}")),
    "an empty file": Answer(reply(b"", "Content-Length: 0")),
    "a gzip bomb": Answer(reply(BOMB, f"Content-Length: {len(BOMB)}")),
    "a bomb as Content-Encoding: gzip": Answer(
        reply(gzip.compress(BOMB), "Content-Encoding: gzip")
    ),
    "Content-Encoding: br, which it is not": Answer(reply(PAGE, "Content-Encoding: br")),
    "a Set-Cookie that is no text": Answer(reply(PAGE, "Set-Cookie: \udcff=\udcfe; Max-Age=x")),
    **HEALTHY,
}


class _Handler(socketserver.BaseRequestHandler):
    """Reads what is asked, and gives its server's answer."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        with contextlib.suppress(OSError):  # the other side has had enough
            self._hear()
            self._say(server)

    def _hear(self) -> None:
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += (more := self.request.recv(4096))
            if not more:
                return

    def _say(self, server: "_Server") -> None:
        answer = server.answer
        self.request.sendall(answer.first.replace(b"{url}", server.url.encode()))
        while answer.again or answer.pause:
            if server.released.wait(answer.pause):
                return
            self.request.sendall(answer.again)
        if answer.reset:  # no time to linger: closing sends RST
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()


class _Server(socketserver.ThreadingTCPServer):
    """Gives one answer to whoever asks."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.released = answer, threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def encrypt(self, certificate: Path) -> None:
        """Speak TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.url = self.url.replace("http:", "https:")

    def shutdown_request(self, request: object) -> None:
        """Close without a farewell of its own, which would undo a reset."""
        self.close_request(request)  # type: ignore[arg-type]


@contextlib.contextmanager
def serve(answer: Answer, certificate: Path | None = None) -> Iterator[str]:
    """Yield the URL, with a slash at its end, of a server that gives an answer.

    Args:
        answer: to every request.
        certificate: a PEM file with it and its key, for TLS.

    """
    with _Server(answer) as server:
        if certificate:
            server.encrypt(certificate)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.url
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
