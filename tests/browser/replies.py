"""A server of fixed bytes: the same answer to whoever asks, in pieces, and a page with our modules beside it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final
from urllib.parse import urlsplit

from tests.js.bundle import SOURCES

PAGE: Final = b"<!doctype html><meta charset=utf-8><title>page</title><link rel=icon href='data:,'>"
STREAM: Final = "text/event-stream"


@dataclass
class Reply:
    """What is served at one address, and what the browser's own EventSource made of it when it came back."""

    pieces: Sequence[bytes]
    type: str = STREAM
    last_event_id: str | None = None
    ended_at: float = 0
    waited: float = field(default=-1)


class Replies:
    """A server of replies at `/0`, `/1`, …; an EventSource that comes back gets 204, which ends it."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        self.replies = replies
        handler = type("Handler", (_Handler,), {"replies": replies})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    replies: Sequence[Reply]

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        path = Path(asked.path)
        if path.suffix == ".js":
            self._answer("text/javascript", [(SOURCES / path.name).read_bytes()])
        elif path.name.isdecimal():
            self._reply(self.replies[int(path.name)], by_eventsource=asked.query == "eventsource")
        else:
            self._answer("text/html", [PAGE])

    def _reply(self, reply: Reply, *, by_eventsource: bool) -> None:
        if by_eventsource and reply.ended_at:
            sent = self.headers["Last-Event-ID"]
            reply.last_event_id = None if sent is None else sent.encode("latin-1").decode()
            reply.waited = time.monotonic() - reply.ended_at
            self.send_response(204)
            self.end_headers()
            return
        self._answer(reply.type, reply.pieces)
        if by_eventsource:
            reply.ended_at = time.monotonic()

    def _answer(self, type: str, pieces: Sequence[bytes]) -> None:
        self.send_response(200)
        if type:
            self.send_header("Content-Type", type)
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: object) -> None:
        pass
