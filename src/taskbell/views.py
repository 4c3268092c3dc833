"""Streams for development under WSGI `runserver`: one thread a stream, which ticks and reads the log itself.

In production the gateway answers these paths before Django sees them (check taskbell.W002 says what is missing).
"""

import time
from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.db import router
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from taskbell.conf import current
from taskbell.exceptions import InvalidCursor
from taskbell.gateway.access import Caller, Refusal, Wish, authorize
from taskbell.gateway.window import Frame
from taskbell.ground import sse
from taskbell.ground.cursor import Cursor
from taskbell.models import Log
from taskbell.store.head import create_head
from taskbell.store.log import Lost, Page, place_of_head, read_after
from taskbell.store.tick import NoHead, Ticker

LOOK_SECONDS: Final = 0.1


def stream(request: HttpRequest, name: str = "") -> HttpResponseBase:
    """Serve one stream from a plain Django view; only with DEBUG."""
    if not settings.DEBUG:
        return HttpResponse(
            "Run `manage.py taskbell serve`, or wrap the ASGI application in EventsMiddleware.\n", status=501
        )
    caller = Caller(session_key=request.COOKIES.get(settings.SESSION_COOKIE_NAME), request=request)
    grant = authorize(caller, Wish(name or None, tuple(request.GET.getlist("channel"))))
    if isinstance(grant, Refusal):
        return HttpResponse("No such stream.\n", status=grant.status)
    text = request.headers.get("Last-Event-ID") or request.GET.get("after", "")
    headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_frames(grant.channels, text), content_type=sse.CONTENT_TYPE.decode(), headers=headers)


def _frames(channels: tuple[str, ...], text: str) -> Iterator[bytes]:
    alias = router.db_for_write(Log)
    ticker, place, ping_at = Ticker(alias), _begin(text, alias), 0.0
    yield sse.OPENING if place else sse.OPENING + sse.reset(_newest(alias), "unknown")
    place = place or _newest(alias)
    while True:
        if isinstance(ticker.tick(), NoHead):
            create_head(alias)
        page = read_after(place, alias)
        if isinstance(page, Lost):
            place = _newest(alias)
            yield sse.reset(place, page.reason)
        for row in page.rows if isinstance(page, Page) else ():
            place = Cursor(place.log_id, row.seq, row.nonce)
            if row.channel in channels:
                yield Frame.of(row, place.log_id).data
        if time.monotonic() >= ping_at:
            ping_at = time.monotonic() + current().PING
            yield sse.ping(place)
        time.sleep(LOOK_SECONDS)


def _begin(text: str, alias: str) -> Cursor | None:
    try:
        return Cursor.parse(text) if text else _newest(alias)
    except InvalidCursor:
        return None


def _newest(alias: str) -> Cursor:
    while (place := place_of_head(alias)) is None:
        create_head(alias)
    return place
