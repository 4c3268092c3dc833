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
from taskbell.gateway.asgi import EventsMiddleware
from taskbell.gateway.files import is_crowded
from taskbell.gateway.head import stands_alone
from taskbell.gateway.wire import DETACH, DetachedStream, Headers

TESTED_UVICORN: Final = ((0, 46), (0, 54))


@cache
def knows_uvicorn(version: str = uvicorn.__version__) -> bool:
    """Tell whether detach was tested with this version of uvicorn."""
    oldest, newest = TESTED_UVICORN
    return oldest <= tuple(int(part) for part in version.split(".")[:2]) <= newest


class StreamProtocol(HttpToolsProtocol):
    """`uvicorn --http taskbell.gateway.server:StreamProtocol`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head = b""
        self._head_timer: asyncio.TimerHandle | None = None
        self._alone = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if is_crowded(transport.get_extra_info("socket").fileno()):
            self._refuse_head(503, "Too many connections to this process.")
        else:
            self._await_head()

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
            self._await_head()

    def on_headers_complete(self) -> None:
        self._alone = not self._answering and stands_alone(self._head)
        self._head_complete()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.cycle is not None:  # else it was answered at the end of its headers
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self._answered_at_once(cycle, app):
            super()._start_asgi_task(cycle, app)

    def _answered_at_once(self, cycle: RequestResponseCycle, app: Any) -> bool:
        """Open a stream that has to wait for nothing, without a task; whatever else there is to say a task says."""
        if not knows_uvicorn() or not isinstance(app, EventsMiddleware):  # what is around it sees every request
            return False
        try:
            return app.answer_at_once(cycle.scope)  # type: ignore[arg-type]
        except Exception as error:
            if self._answering:
                return False  # nothing was said yet, and the task meets the same
            self.logger.error("Exception in ASGI application\n", exc_info=error)
            self.transport.close()
            return True

    def detach(self, headers: Headers, stream: DetachedStream) -> bytes | None:
        """Give the transport to `stream` and return the response head, which it has to write before anything else.

        None if its request does not stand alone. The body has no length and ends with the connection, so the same bytes
        go to every stream.
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
        return _head(self.server_state.default_headers + headers)

    @property
    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(
            current().HEADER_TIME, self._refuse_head, 408, "The request head took too long."
        )

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse_head(self, status: int, reason: str) -> None:
        self._head_complete()
        count("requests_total", str(status))
        if not self.transport.is_closing():
            if not self._answering:  # else these bytes would stand in the middle of that answer
                self.transport.write(STATUS_LINE[status] + refusal(status, reason))
            self.transport.close()


def _head(headers: Headers) -> bytes:
    lines = [b"%s: %s\r\n" % header for header in headers]
    return b"".join([STATUS_LINE[200], *lines, b"connection: close\r\n\r\n"])
