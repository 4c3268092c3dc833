"""A stream, a loop and a log on paper: everything a hub touches, with no socket, no database and no clock.

What happens next is the test's choice, so every interleaving of callbacks can be tried.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from taskbell.gateway.access import Caller, Grant, Wish
from taskbell.gateway.window import Frame
from taskbell.gateway.wire import Stream
from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.store.log import LogRow
from tests.servers.sse import Event, Parser


class PaperLoop:
    """Keeps what is to be called soon, until the test says `turn`."""

    def __init__(self) -> None:
        self.ready: deque[Callable[[], object]] = deque()
        self.now = 0.0

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self.ready.append(lambda: callback(*args))

    def time(self) -> float:
        return self.now

    def turn(self) -> bool:
        """Make the oldest waiting call; return whether there was one."""
        if not self.ready:
            return False
        with self.running():
            self.ready.popleft()()
        return True

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the running loop, as far as `asyncio.get_running_loop()` can tell."""
        asyncio._set_running_loop(self)  # type: ignore[arg-type]
        try:
            yield
        finally:
            asyncio._set_running_loop(None)


class PaperStream(Stream):
    """A reader that takes every byte at once, until it is `stuck`; `plain` ones always take a moment."""

    __slots__ = ("aborted", "buffer", "ended", "plain", "received", "stuck")

    def __init__(self, *channels: str, plain: bool = False, person: str | None = None, address: str = "a") -> None:
        # A scene gives it a hub when it joins.
        super().__init__(Grant(channels, person, Wish(channels=channels), Caller()), address, hub=None)  # type: ignore[arg-type]
        self.plain = plain
        self.stuck = self.ended = self.aborted = False
        self.received = self.buffer = b""
        self.ends_at = float("inf")

    def write(self, data: bytes) -> None:
        assert not self.closed, "bytes after the end"
        self._take(data)
        if self.buffer:
            self.hub.fell_behind(self)

    def finish(self, last: bytes) -> None:
        if not self.closed:
            self._take(last)
            self.closed = self.ended = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def buffered(self) -> int:
        return len(self.buffer)

    def breathe(self) -> None:
        """Take what lies in the buffer, and tell the hub."""
        self.received, self.buffer, had = self.received + self.buffer, b"", bool(self.buffer)
        if had and not self.closed:
            self.hub.caught_breath(self)

    @property
    def events(self) -> list[Event]:
        """Everything that was received, as an independent parser reads it."""
        return Parser().feed(self.received)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def _take(self, data: bytes) -> None:
        if self.stuck or self.plain or self.buffer:
            self.buffer += data
        else:
            self.received += data


class PaperLog:
    """The database's side: numbered rows with nonces, and a name."""

    def __init__(self, log_id: str = "log", rows: Iterable[LogRow] = ()) -> None:
        self.log_id = log_id
        self.rows = list(rows)

    def add(self, channel: str | None, *, nonce: str | None = None, latest_key: str | None = None) -> LogRow:
        seq = len(self.rows) + 1
        row = LogRow(seq, nonce or f"{self.log_id}{seq}", channel, "message", f'"{self.log_id} {seq}"', latest_key)
        self.rows.append(row)
        return row

    def frames(self, after: int = 0, upto: int | None = None) -> list[Frame]:
        return [Frame.of(row, self.log_id) for row in self.rows[after:upto]]

    def place(self, seq: int) -> Cursor:
        return Cursor(self.log_id, seq, self.rows[seq - 1].nonce if seq else NONCE_AT_ZERO)

    @property
    def head(self) -> Cursor:
        return self.place(len(self.rows))
