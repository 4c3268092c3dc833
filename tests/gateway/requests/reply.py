"""What came back on a raw socket, read strictly: a reply is one well-formed HTTP response, or nothing."""

import re
import socket
import time
from dataclasses import dataclass, field

STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d) [ -~]*")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t -~\x80-\xff]*)")
FIRST_PING = b"data: {}\n\n"


class Malformed(AssertionError):
    """What came back is no HTTP."""


@dataclass
class Reply:
    """`status` 0 is a connection that was closed without a word; `closed` says that it is."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    closed: bool = False

    @property
    def is_stream(self) -> bool:
        return self.status == 200 and self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def complete(self) -> bool:
        """True when nothing more is due: the whole body, or a stream's first ping."""
        if self.is_stream:
            return FIRST_PING in self.body
        length = self.headers.get("content-length")
        return length is not None and len(self.body) >= int(length)


def exchange(port: int, sent: bytes, *, pieces: int = 0, seconds: float = 5, until_closed: bool = True) -> Reply:
    """Send bytes from a connection of their own and return what came back within `seconds`.

    A stream is left at its first ping. With `until_closed` any other reply is followed to the end of the connection.
    """
    deadline = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _send(connection, sent, pieces)
        data, closed = b"", False
        while not closed and time.monotonic() < deadline:
            reply = parse(data)
            if reply is not None and reply.complete and (reply.is_stream or not until_closed):
                return reply
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                more = connection.recv(65_536)
            except ConnectionError:
                more = b""
            except TimeoutError:
                break
            closed = not more
            data += more
    reply = parse(data) or Reply(body=data)
    reply.closed = closed
    if reply.status == 0 and data:
        raise Malformed(data[:300])
    return reply


def _send(connection: socket.socket, sent: bytes, pieces: int) -> None:
    try:
        for start in range(0, len(sent), pieces or len(sent) or 1):
            connection.sendall(sent[start : start + (pieces or len(sent))])
    except ConnectionError:
        pass  # refused before it was all told


def parse(data: bytes) -> Reply | None:
    """Return the reply that bytes begin with, None while its head is unfinished."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.split(b"\r\n")
    line = STATUS_LINE.fullmatch(first)
    if line is None:
        raise Malformed(first[:300])
    headers: dict[str, str] = {}
    for header in lines:
        found = HEADER.fullmatch(header)
        if found is None:
            raise Malformed(header[:300])
        headers[found[1].decode().lower()] = found[2].decode("latin-1").strip()
    return Reply(int(line[1]), headers, body)
