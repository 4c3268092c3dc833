"""The load tool measured by itself: it must see what a server of known bytes sent, however they were cut."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from bench.rig.processes import Failed
from bench.rig.servers import HOST, Streams

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n%s\r\n"
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
EVENTS: Final = 3
Cut = Callable[[bytes], Iterator[bytes]]
# No stamps: too short, from the future, or only the look of one.
DECOYS: Final = b'data: {"count=12":"t=7","t=9999999999999999999":"tt==","at=":"t= t"}\n\n'


def check_load_tool() -> None:
    """Raise `Failed` if the load tool misses, doubles or invents a delivery."""
    for way in (whole, byte_by_byte, in_chunks):
        with socket.create_server((HOST, 0)) as listener:
            serving = threading.Thread(target=serve_one, args=(listener, way), daemon=True)
            serving.start()
            with Streams(listener.getsockname()[1], 1, "/", "--events", EVENTS, "--seconds", 5) as streams:
                seen = streams.result(10)
            serving.join(10)
        if seen["deliveries"]["count"] != EVENTS or seen["deliveries"]["complete"] != EVENTS:
            raise Failed(f"the load tool saw {seen['deliveries']} where {EVENTS} events were sent {way.__name__}")


def serve_one(listener: socket.socket, way: Cut) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(65536)
        body = DECOYS + b"".join(b'data: {"stamp":"t=%d"}\n\n' % time.monotonic_ns() for _ in range(EVENTS))
        try:
            for piece in way(body):
                connection.sendall(piece)
                time.sleep(0.0005)
            connection.recv(1)
        except OSError:
            pass  # the tool has gone: it leaves at the last stamp, not at the last byte


def whole(body: bytes) -> Iterator[bytes]:
    yield HEAD % b"" + body


def byte_by_byte(body: bytes) -> Iterator[bytes]:
    for byte in HEAD % b"" + body:
        yield bytes([byte])


def in_chunks(body: bytes) -> Iterator[bytes]:
    """Cut it into chunks of seven bytes, and those into reads of five."""
    chunks = [body[start : start + 7] for start in range(0, len(body), 7)]
    sent = HEAD % CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    yield from (sent[start : start + 5] for start in range(0, len(sent), 5))
