"""The two ways to run a gateway: beside Django in one ASGI application, or alone (`manage.py taskbell serve`).

A project's `asgi.py` imports this before Django is set up, so what needs models is imported at the first call.
"""

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.urls import NoReverseMatch, reverse

from taskbell.gateway.answer import answer

if TYPE_CHECKING:
    from taskbell.gateway.app import Gateway

LIVE_PATH: Final = "/livez"
READY_PATH: Final = "/readyz"


class EventsMiddleware:
    """`application = EventsMiddleware(get_asgi_application())`: streams here, everything else to Django."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.gateway: Gateway | None = None
        self._prefix: str | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and (name := self._name(scope)) is not None:
            await self.started().endpoint(scope, receive, send, name, self._seen_prefix(scope))
        elif scope["type"] == "websocket" and self._name(scope) is not None:
            await send({"type": "websocket.close"})  # which a server answers with 403
        else:
            await self.app(scope, receive, send)

    def answer_at_once(self, scope: dict[str, Any]) -> bool:
        """Open the stream that this request asks for, where that takes no waiting; else False, and `__call__` answers.

        For the server that offers *detach*.
        """
        if self.gateway is None or (name := self._name(scope)) is None:
            return False
        return self.gateway.endpoint.answer_at_once(scope, name)

    def started(self) -> "Gateway":
        """Return the gateway; it starts at lifespan or, where a server has none, with the first stream."""
        if self.gateway is None:
            from taskbell.gateway.app import Gateway

            self.gateway = Gateway()
        self.gateway.start()
        return self.gateway

    def _name(self, scope: dict[str, Any]) -> str | None:
        """Return what stands after the prefix of the streams, None when the path is not theirs."""
        path: str = scope["path"].removeprefix(scope.get("root_path") or settings.FORCE_SCRIPT_NAME or "")
        prefix = self._events_prefix()
        if not path.startswith(prefix):
            return None
        return path[len(prefix) :].removesuffix("/")

    def _seen_prefix(self, scope: dict[str, Any]) -> str:
        """Return the prefix of the streams as browsers see it."""
        script_name: str = scope.get("root_path") or settings.FORCE_SCRIPT_NAME or ""
        return script_name.rstrip("/") + self._events_prefix()

    def _events_prefix(self) -> str:
        if self._prefix is None:
            try:
                # A script name is in front of what `reverse` returns, and a proxy may or may not take it away.
                self._prefix = reverse("taskbell-events:own").removeprefix(settings.FORCE_SCRIPT_NAME or "")
            except NoReverseMatch as error:
                raise NoReverseMatch(
                    'Streams have no address: add path("events/", include("taskbell.urls.events")) to the root URLconf.'
                ) from error
        return self._prefix

    async def _lifespan(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.started()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.started().drain()
                await send({"type": "lifespan.shutdown.complete"})
                return


class Standalone(EventsMiddleware):
    """A gateway alone: streams, liveness, readiness; 404 for the rest."""

    def __init__(self, notice: float = 0.0) -> None:
        super().__init__(self._other)
        self.notice = notice

    def started(self) -> "Gateway":
        gateway = super().started()
        gateway.notice = self.notice
        return gateway

    async def _other(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise ValueError("This gateway speaks HTTP only.")
        if scope["path"] == LIVE_PATH:
            await answer(send, 200, "alive")
        elif scope["path"] == READY_PATH:
            ready = self.started().ready
            await answer(send, 200 if ready else 503, "ready" if ready else "not ready")
        else:
            await answer(send, 404, "This gateway serves streams only.")
