"""One open response, in two kinds: a detached transport, or the plain `send()` of any ASGI server.

Either way the hub sees a `Stream`: it is live (it has been handed everything up to the hub's position) or behind
(unsent bytes lie in a buffer; it pulls from its own place when they are gone). So nothing is queued for anyone.
"""

import asyncio
import socket
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final, Protocol

from taskbell.gateway.sockets import USER_TIMEOUT_MS, borrow, bound_silence, forget_at_close, tune, unsent_in_kernel
from taskbell.ground.cursor import Cursor
from taskbell.ground.sse import ResetReason

if TYPE_CHECKING:  # access needs models, and a server imports its protocol before the project is set up
    from taskbell.gateway.access import Grant

# The ASGI extension by which a server hands its transport over.
DETACH: Final = "taskbell.detach"

LIVE: Final = -1

NOBODY: Final[dict["Stream", None]] = {}

Headers = list[tuple[bytes, bytes]]


class Listening(Protocol):
    """What a stream tells its hub."""

    def fell_behind(self, stream: "Stream") -> None: ...
    def caught_breath(self, stream: "Stream") -> None: ...
    def left(self, stream: "Stream") -> None: ...


class Stream:
    """One open response. `place` is LIVE, or the number up to which a behind stream was handed everything."""

    __slots__ = (
        "address",
        "channels",
        "closed",
        "ends_at",
        "grant",
        "hub",
        "owed_reset",
        "pinged_with",
        "place",
        "unchecked",
    )

    ends_at: float

    def __init__(self, grant: "Grant", address: str, hub: Listening) -> None:
        self.hub = hub
        self.grant = grant
        self.channels = grant.channels
        self.address = address
        self.place = LIVE
        self.closed = False
        self.owed_reset: ResetReason | None = None
        self.unchecked: Cursor | None = None
        # Who is pinged in the same second: a stream that leaves is taken out at once, and nothing of it is kept.
        self.pinged_with = NOBODY

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Hand bytes over; the stream says `fell_behind` if they do not all leave at once."""

    def push(self, data: bytes) -> None:
        """Write one fan-out's bytes, as `write` does; where the stream is live this may be a faster way."""
        self.write(data)

    @abstractmethod
    def finish(self, last: bytes) -> None:
        """Write the last bytes and end the body cleanly."""

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection; unsent bytes are lost, and come again when the browser resumes."""

    @abstractmethod
    def buffered(self) -> int:
        """Return the bytes that lie in a buffer of ours; the hub is told when they are gone."""

    def unsent(self) -> int:
        """Return the bytes that the reader has not taken, as far as can be seen; falling means progress."""
        return self.buffered()

    def let_kernel_cut(self, yes: bool) -> None:
        """Have the kernel cut a reader that acknowledges nothing, where it can, or leave that to us."""


class DetachedStream(Stream, asyncio.Protocol):
    """A stream that is the transport's protocol itself: a socket, this object, and nothing else."""

    __slots__ = ("_over_tls", "_socket", "transport")

    transport: asyncio.Transport
    _over_tls: bool
    _socket: socket.socket

    def attach(self, transport: asyncio.Transport) -> None:
        """Take the transport over; from now on every write is tried at once and says if bytes stayed."""
        self.transport = transport
        # A TLS transport is full when its buffer reaches the mark, a plain one when it passes it.
        self._over_tls = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=1 if self._over_tls else 0, low=0)
        self._socket = borrow(transport)
        tune(self._socket)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def push(self, data: bytes) -> None:
        # A live stream has nothing in the transport's buffer, so the socket may be written to without it: a tenth less
        # for each of thousands.
        if self._over_tls or self.place != LIVE:
            self.transport.write(data)
            return
        try:
            left = data[self._socket.send(data) :]
        except OSError:  # full or gone: the transport finds out which, and tells
            left = data
        if left:
            self.transport.write(left)

    def finish(self, last: bytes) -> None:
        if not self.closed:
            self.closed = True
            self.transport.write(last)
            self.transport.close()

    def abort(self) -> None:
        self.closed = True
        forget_at_close(self._socket)
        self.transport.abort()

    def buffered(self) -> int:
        return self.transport.get_write_buffer_size()

    def unsent(self) -> int:
        return self.buffered() + unsent_in_kernel(self._socket)

    def let_kernel_cut(self, yes: bool) -> None:
        bound_silence(self._socket, USER_TIMEOUT_MS if yes else 0)

    def data_received(self, data: bytes) -> None:
        self.abort()  # one request, then the stream: more bytes are smuggling or a mistake

    def pause_writing(self) -> None:
        self.hub.fell_behind(self)

    def resume_writing(self) -> None:
        if not self.closed:
            self.hub.caught_breath(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._socket.detach()  # from now on the descriptor may be another connection's
        self.hub.left(self)


class PlainStream(Stream):
    """A stream inside an ASGI call; `run` ends when the browser leaves or the hub is done with it."""

    __slots__ = ("_data", "_last", "_send", "_task", "_wake")

    def __init__(self, grant: "Grant", address: str, hub: Listening, send: Any) -> None:
        super().__init__(grant, address, hub)
        self._send = send
        self._data = b""
        self._last = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def run(self, receive: Any, headers: Headers) -> None:
        """Send the response head, and write until the end."""
        self._task = asyncio.create_task(self._write_on(headers))
        gone = asyncio.create_task(_until_disconnect(receive))
        try:
            await asyncio.wait({self._task, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.closed = True
            self.hub.left(self)
            self._task.cancel()
            gone.cancel()
            # However a server's `send` says that the browser left, it is no news here.
            await asyncio.gather(self._task, gone, return_exceptions=True)

    def write(self, data: bytes) -> None:
        self._data += data
        self._wake.set()
        self.hub.fell_behind(self)

    def finish(self, last: bytes) -> None:
        if not self.closed:
            self.closed = self._last = True
            self._data += last
            self._wake.set()

    def abort(self) -> None:
        self.closed = True
        if self._task is not None:
            self._task.cancel()

    def buffered(self) -> int:
        return len(self._data)

    async def _write_on(self, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        while not self._last:
            await self._wake.wait()
            self._wake.clear()
            data = self._data
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self._data = self._data[len(data) :]
            if not self.closed and not self._data:
                self.hub.caught_breath(self)
        await self._send({"type": "http.response.body", "body": self._data, "more_body": False})


async def _until_disconnect(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
