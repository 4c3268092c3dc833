"""The uvicorn shim: its httptools protocol, with bounds on the request head and one ASGI extension, *detach*.

After detach the transport's protocol is the stream itself; parser, headers, scope, task and buffers are free.
It leans on internals of uvicorn, each of which has a test (tests/gateway/test_uvicorn.py), so the versions it was
tested with are written down here. With any other, streams go by plain `send()`.
"""

import asyncio
from functools import cache
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from taskbell.conf import current
from taskbell.counts import count
from taskbell.gateway.answer import refusal
from taskbell.gateway.head import stands_alone
from taskbell.gateway.wire import DETACH, DetachedStream, Headers

TESTED_UVICORN: Final = ((0, 46), (0, 54))
SLOW_HEAD: Final = "The request head took too long."


@cache
def knows_uvicorn(version: str = uvicorn.__version__) -> bool:
    """Tell whether detach was tested with this version of uvicorn."""
    oldest, newest = TESTED_UVICORN
    return oldest <= tuple(int(part) for part in version.split(".")[:2]) <= newest


class DetachingProtocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, from its first bytes on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = b""
        self._head_timer: asyncio.TimerHandle | None = None
        self._alone = False

    def take_over(self, transport: asyncio.Transport, received: bytes, deadline: float) -> None:
        """Go on with a connection from which these bytes came; the head has to be whole by `deadline` (loop time)."""
        transport.set_protocol(self)
        self.connection_made(transport)
        self._await_head(deadline)
        self.data_received(received)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_complete()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._answering:
            self._alone = False  # a body, or a second request
        self._head = data if self._head_timer is None else self._head + data
        super().data_received(data)
        if self._head_timer is None:
            self._head = b""
        elif len(self._head) > current().HEADER_BYTES:
            self._refuse_head(431, "The request head is too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if knows_uvicorn():
            self.scope["extensions"] = {DETACH: self.detach}  # type: ignore[dict-item]
        if self._head_timer is None:
            self._await_head(self.loop.time() + current().HEADER_TIME)

    def on_headers_complete(self) -> None:
        self._alone = not self._answering and stands_alone(self._head)
        self._head_complete()
        super().on_headers_complete()

    def detach(self, headers: Headers, stream: DetachedStream) -> bytes | None:
        """Give the transport to `stream` and return the response head, which it has to write before anything else.

        None if its request does not stand alone.
        """
        cycle, transport = self.cycle, self.transport
        if not self._alone or cycle.disconnected or transport.is_closing():
            return None
        self._head_complete()
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        cycle.response_started = cycle.response_complete = True  # nothing is left for uvicorn to complete
        self.flow.resume_reading()
        stream.attach(transport)
        transport.set_protocol(stream)
        # What refers to itself would wait for the garbage collector.
        self.scope = self.cycle = self.parser = self.headers = None  # type: ignore[assignment]
        cycle.scope = {}  # type: ignore[typeddict-item]
        return response_head(self.server_state.default_headers + headers)

    @property
    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await_head(self, deadline: float) -> None:
        self._head_timer = self.loop.call_at(deadline, self._refuse_head, 408, SLOW_HEAD)

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_head(self, status: int, reason: str) -> None:
        self._head_complete()
        if self._answering:  # what is written now would stand in the middle of that answer
            count("requests_total", str(status))
            self.transport.close()
        else:
            refuse(self.transport, status, reason)


def refuse(transport: asyncio.Transport, status: int, reason: str) -> None:
    """Answer whatever is or would be asked on a connection, and close it."""
    count("requests_total", str(status))
    if not transport.is_closing():
        transport.write(STATUS_LINE[status] + refusal(status, reason))
        transport.close()


def response_head(headers: Headers) -> bytes:
    """Return the head of a response whose body has no length and ends with the connection."""
    lines = [b"%s: %s\r\n" % header for header in headers]
    return b"".join([STATUS_LINE[200], *lines, b"connection: close\r\n\r\n"])
