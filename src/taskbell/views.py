"""Streams for development under WSGI `runserver`: one thread a stream, which ticks and reads the log itself.

In production the gateway answers these paths before Django sees them (check taskbell.W002 says what is missing).
"""

import time
from collections.abc import Iterator
from threading import Lock
from typing import Any, Final

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from taskbell import faults
from taskbell.conf import current
from taskbell.gateway.access import Grant, Refusal, authorize, still_granted
from taskbell.gateway.request import Rejected, StreamRequest, read_request
from taskbell.gateway.stream import response_headers
from taskbell.gateway.window import Frame
from taskbell.ground import sse
from taskbell.ground.cursor import Cursor
from taskbell.models import Log
from taskbell.store.control import ACTIVITY_CHANNEL
from taskbell.store.head import create_head
from taskbell.store.log import Lost, place_of_head, read_after
from taskbell.store.loops import Loop, registered
from taskbell.store.tick import NoHead, Ticker

LOOK_SECONDS: Final = 0.1
INSTEAD: Final = "Run `manage.py taskbell serve`, or wrap the ASGI application in EventsMiddleware."


def stream(request: HttpRequest, name: str = "") -> HttpResponseBase:
    """Serve one stream as a plain Django view; only with DEBUG, and only under WSGI: ASGI would wait for its end."""
    if not settings.DEBUG or not isinstance(request, WSGIRequest):
        return _answer(501, INSTEAD)
    try:
        asked = read_request(_scope(request), name)
    except Rejected as rejected:
        return _answer(rejected.status, rejected.reason)
    grant = authorize(asked.caller, asked.wish)
    if isinstance(grant, Refusal):
        return _answer(grant.status, "Sign in first." if grant.status == 401 else "No such stream.")
    headers = {key.decode(): value.decode("latin-1") for key, value in response_headers(asked, grant.person)}
    return StreamingHttpResponse(_frames(grant, asked), headers=headers)


def _frames(grant: Grant, asked: StreamRequest) -> Iterator[bytes]:
    alias = router.db_for_write(Log)
    ticker, place, ping_at = Ticker(alias), asked.cursor or _newest(alias), time.monotonic() + current().PING
    yield sse.OPENING + (sse.reset(place, "unknown") if asked.unknown_cursor else b"") + sse.ping(place)
    while True:
        _chores.do(alias)
        page = None if isinstance(ticker.tick(), NoHead) else read_after(place, alias)
        if page is None:
            create_head(alias)
        elif isinstance(page, Lost):
            place = _newest(alias)
            yield sse.reset(place, page.reason)
        else:
            for row in page.rows:
                place = Cursor(place.log_id, row.seq, row.nonce)
                if row.channel in grant.channels:
                    yield Frame.of(row, place.log_id).data
            if page.rows and ACTIVITY_CHANNEL in grant.channels:
                yield sse.frame(place, sse.ACTIVITY, "{}")
        if time.monotonic() >= ping_at:
            if not all(still_granted([grant])):
                yield sse.bye("signed_out", sse.RETRY_MS)
                return
            ping_at = time.monotonic() + current().PING
            yield sse.ping(place)
        time.sleep(LOOK_SECONDS)


class Chores:
    """The loops of a gateway, done between frames: each when it is due, once for all streams of the process."""

    def __init__(self) -> None:
        self._doing = Lock()
        self._due: dict[str, float] = {}

    def do(self, alias: str) -> None:
        """Do what is due, unless another thread is at it."""
        if not self._doing.acquire(blocking=False):
            return
        try:
            for loop in registered():
                if time.monotonic() >= self._due.setdefault(loop.name, time.monotonic() + loop.seconds):
                    self._due[loop.name] = time.monotonic() + loop.seconds
                    _step(loop, alias)
        finally:
            self._doing.release()


_chores = Chores()


def _step(loop: Loop, alias: str) -> None:
    try:
        loop.step(alias)
    except Exception:
        faults.exception("The background loop %s failed; it goes on.", loop.name, about=loop.name)


def _scope(request: WSGIRequest) -> dict[str, Any]:
    """Return the request as the gateway would get it, so that development is as strict as production."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in request.headers.items() if value]
    return {
        "type": "http",
        "method": request.method,
        "path": request.path,
        "query_string": request.META["QUERY_STRING"].encode("latin-1"),
        "headers": headers,
        "client": (request.META["REMOTE_ADDR"], 0),
    }


def _answer(status: int, text: str) -> HttpResponse:
    headers = {"Cache-Control": "no-store"} | ({"Allow": "GET"} if status == 405 else {})
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain; charset=utf-8", headers=headers)


def _newest(alias: str) -> Cursor:
    while (place := place_of_head(alias)) is None:
        create_head(alias)
    return place
