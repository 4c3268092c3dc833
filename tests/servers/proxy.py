"""A proxy in front of a gateway that does to streams what proxies and networks do: refuses, cuts, swallows.

It speaks HTTP as far as it must: one request a connection, whose head it reads. The rest is bytes.
"""

import socket
import struct
import time
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Final

PIECE: Final = 65_536
LOOK_SECONDS: Final = 0.05
STREAMS: Final = b"GET /events/"
END_OF_HEAD: Final = b"\r\n\r\n"
# With this a socket that is closed says RST, and nothing of what is unsent.
RESET: Final = struct.pack("ii", 1, 0)


def answer(status: str, body: str = "", **headers: str) -> bytes:
    """Return the whole of an HTTP answer; `Retry_After="1"` is a header."""
    lines = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body.encode())}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", body]).encode()


class Proxy:
    """Forwards to a port on 127.0.0.1; the faults are for streams alone, the site behind it always answers."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.asked_at: list[float] = []
        self._refusal: bytes | None = None
        self._open: dict[socket.socket, Event] = {}
        self._lock = Lock()
        self._flowing = Event()
        self._flowing.set()
        self._cut_behind: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    @property
    def streams(self) -> int:
        """How many streams are open now."""
        with self._lock:
            return len(self._open)

    def refuse(self, answer: bytes) -> None:
        """Give this answer to whoever asks for a stream, and cut those that are open."""
        self._refusal = answer
        self.cut()

    def swallow(self) -> None:
        """Let not a byte of an open stream through any more, and tell nobody; new ones wait for their first byte."""
        self._flowing.clear()

    def cut_inside(self, mark: bytes) -> None:
        """Let the next bytes through up to and with `mark`, and then break the connection."""
        self._cut_behind = mark

    def heal(self) -> None:
        """Forward again. What was swallowed stays so: its connections are cut."""
        self._refusal = None
        if not self._flowing.is_set():
            self.cut()
        self._flowing.set()

    def cut(self) -> None:
        """Break all open streams."""
        with self._lock:
            for client in self._open:
                _break(client)
            for gone in self._open.values():
                gone.set()

    def close(self) -> None:
        self._listener.close()
        self.cut()
        self._flowing.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            head, rest = _read_head(client)
            is_stream = head.startswith(STREAMS)
            if is_stream:
                self.asked_at.append(time.monotonic())
            if is_stream and self._refusal is not None:
                client.sendall(self._refusal)
                return
            with socket.create_connection(("127.0.0.1", self.upstream)) as server:
                server.sendall(head.replace(b"Connection: keep-alive", b"Connection: close") + END_OF_HEAD + rest)
                gone = Event()
                Thread(target=_copy, args=[client, server, gone], daemon=True).start()
                if is_stream:
                    self._forward_stream(server, client, gone)
                else:
                    _copy(server, client, gone)

    def _forward_stream(self, server: socket.socket, client: socket.socket, gone: Event) -> None:
        with self._lock:
            self._open[client] = gone
        try:
            while piece := server.recv(PIECE):
                while not self._flowing.wait(LOOK_SECONDS) and not gone.is_set():
                    pass
                # What was swallowed is lost with its connection, also where the network is back before it is cut.
                if gone.is_set():
                    return
                mark = self._cut_behind
                if mark is not None and mark in piece:
                    self._cut_behind = None
                    client.sendall(piece[: piece.index(mark) + len(mark)])
                    _end(client)
                    return
                client.sendall(piece)
        finally:
            with self._lock:
                self._open.pop(client)


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while END_OF_HEAD not in received:
        piece = client.recv(PIECE)
        if not piece:
            raise ConnectionError
        received += piece
    head, _, rest = received.partition(END_OF_HEAD)
    return head, rest


def _copy(source: socket.socket, target: socket.socket, gone: Event) -> None:
    """Copy until one side ends, and let the other know."""
    with suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    gone.set()
    _end(target)


def _end(target: socket.socket) -> None:
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _break(client: socket.socket) -> None:
    with suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.shutdown(socket.SHUT_RDWR)
