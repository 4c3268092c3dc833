"""The protocol that uvicorn is given for each connection. It opens at once what has to wait for nothing.

A stream that nobody has to be asked about (public, or by its pass) is answered in the call that brings its request:
without a task, and without what uvicorn prepares for a connection. Whatever else arrives goes on to uvicorn's own
protocol (gateway/detach.py), which sees the bytes as they came.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from taskbell.conf import current
from taskbell.gateway.asgi import EventsMiddleware
from taskbell.gateway.detach import SLOW_HEAD, DetachingProtocol, knows_uvicorn, refuse, response_head
from taskbell.gateway.files import is_crowded
from taskbell.gateway.head import read_head
from taskbell.gateway.wire import DETACH, DetachedStream, Headers

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

logger = logging.getLogger("uvicorn.error")


class StreamProtocol(asyncio.Protocol):
    """`uvicorn --http taskbell.gateway.server:StreamProtocol`."""

    transport: asyncio.Transport

    def __init__(
        self,
        config: "Config",
        server_state: "ServerState",
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.config = config
        self.server_state = server_state
        self.app_state = app_state
        self.loop = _loop or asyncio.get_event_loop()
        self._opened = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.server_state.connections.add(self)  # type: ignore[arg-type]
        self._head_timer = self.loop.call_later(current().HEADER_TIME, refuse, transport, 408, SLOW_HEAD)
        if is_crowded(transport.get_extra_info("socket").fileno()):
            self._head_timer.cancel()
            refuse(transport, 503, "Too many connections to this process.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        if self._open(data):
            return
        self._leave()
        successor = DetachingProtocol(self.config, self.server_state, self.app_state, self.loop)
        successor.take_over(self.transport, data, self._head_timer.when())

    def shutdown(self) -> None:
        """Close a connection that has asked for nothing; uvicorn calls it when it stops."""
        self.transport.close()

    def _leave(self) -> None:
        self._head_timer.cancel()
        self.server_state.connections.discard(self)

    def _open(self, received: bytes) -> bool:
        """Answer if these bytes ask for a stream that has to wait for nothing; False leaves everything as it was."""
        app = self.config.loaded_app
        # An application around ours sees every request, and so does uvicorn where it counts them.
        if not isinstance(app, EventsMiddleware) or self.config.limit_concurrency is not None or not knows_uvicorn():
            return False
        scope = read_head(received)
        if scope is None:
            return False
        scope |= {
            "client": self.transport.get_extra_info("peername"),
            "root_path": self.config.root_path,
            "extensions": {DETACH: self._detach},
        }
        try:
            return app.answer_at_once(scope)
        except Exception as error:
            if not self._opened:
                return False  # nothing was said yet, and the task meets the same
            logger.error("Exception in ASGI application\n", exc_info=error)
            self.transport.close()
            return True

    def _detach(self, headers: Headers, stream: DetachedStream) -> bytes | None:
        """Give the transport to `stream`, as `DetachingProtocol.detach` does."""
        if self.transport.is_closing():
            return None
        self._opened = True
        self._leave()
        stream.attach(self.transport)
        self.transport.set_protocol(stream)
        return response_head(self.server_state.default_headers + headers)
