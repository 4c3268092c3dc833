"""Reading a stream request: strict, because the connection is ours for the next half hour."""

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from itertools import chain
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import parse_cookie
from django.http.request import split_domain_port, validate_host

from taskbell.conf import current
from taskbell.exceptions import InvalidCursor
from taskbell.gateway.access import OWN, Caller, Wish
from taskbell.ground.cursor import Cursor

# Django's own bound on a query string (DATA_UPLOAD_MAX_NUMBER_FIELDS) is a setting; a stream needs far fewer.
MOST_FIELDS: Final = 1_100
# Browsers send about twenty headers, and proxies add a few.
MOST_HEADERS: Final = 100
# A site has a few names, and a storm of requests names the same one.
MOST_HOSTS: Final = 64
# As ASGI writes them. Parsers also let through 0.9, which has no headers to check, and a 2.0 in the clear.
HTTP_VERSIONS: Final = ("1.0", "1.1", "2", "3")
LAST_EVENT_ID: Final = b"last-event-id"
PASS_COOKIE: Final = "taskbell_pass"


class Rejected(Exception):
    """A request that gets an answer other than a stream."""

    def __init__(self, status: int, reason: str = "") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """What a well-formed request asks. `cursor` is None from now on, or text that is no cursor of ours as `unknown`."""

    wish: Wish
    caller: Caller
    pass_text: str | None
    cursor: Cursor | None
    unknown_cursor: bool
    origin: str | None


def read_request(scope: dict[str, Any], name: str) -> StreamRequest:
    """Return what the request asks, `name` being the path after the prefix; raise `Rejected`."""
    _check_size(scope)
    headers = _single_headers(scope)
    _check_framing(scope, headers)
    query = _query(scope)
    text = _cursor_text(headers, query)
    cursor = _cursor(text)
    caller, pass_text = _caller(scope, headers)
    return StreamRequest(
        wish=_wish(name, query),
        caller=caller,
        pass_text=pass_text,
        cursor=cursor,
        unknown_cursor=bool(text) and cursor is None,
        origin=_check_origin(scope, headers),
    )


def _check_size(scope: dict[str, Any]) -> None:
    if len(scope["headers"]) > MOST_HEADERS or _head_bytes(scope) > current().HEADER_BYTES:
        raise Rejected(431, "The request head is too large.")


def _head_bytes(scope: dict[str, Any]) -> int:
    """Return how many bytes the head had on its way here: a server that has read it counts no more."""
    path = scope.get("raw_path") or scope["path"].encode()
    target = len(path) + (len(scope["query_string"]) + 1 if scope["query_string"] else 0)
    headers = scope["headers"]
    lines = sum(map(len, chain.from_iterable(headers))) + len(headers) * len(b": \r\n")
    return len(scope["method"]) + len(b" ") + target + len(b" HTTP/1.1\r\n") + lines + len(b"\r\n")


def _single_headers(scope: dict[str, Any]) -> dict[bytes, bytes]:
    """Return the headers; those that decide anything must not stand there twice."""
    headers: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in headers and name in (b"host", b"origin", b"content-length", LAST_EVENT_ID):
            raise Rejected(400, f"The header {name.decode('latin-1')} stands there twice.")
        headers[name] = headers[name] + b"; " + value if name == b"cookie" and name in headers else value
    return headers


def _check_framing(scope: dict[str, Any], headers: dict[bytes, bytes]) -> None:
    if scope["method"] != "GET":
        raise Rejected(405, "Streams are read with GET.")
    if scope.get("http_version", "1.1") not in HTTP_VERSIONS:
        raise Rejected(400, "This version of HTTP is not spoken here.")
    if headers.get(b"content-length", b"0") != b"0":
        raise Rejected(400, "A stream request has no body.")
    for name in (b"transfer-encoding", b"upgrade", b"expect"):
        if name in headers:
            raise Rejected(400, f"A stream request has no {name.decode()} header.")


def _check_origin(scope: dict[str, Any], headers: dict[bytes, bytes]) -> str | None:
    """Return the foreign origin that CSRF_TRUSTED_ORIGINS allows, None for our own; refuse all others."""
    forwarded = headers.get(b"x-forwarded-host") if settings.USE_X_FORWARDED_HOST else None
    host = (forwarded or headers.get(b"host", b"")).decode("latin-1")
    allowed = settings.ALLOWED_HOSTS or ([".localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    if not _is_known(host, tuple(allowed)):
        raise Rejected(400, "This host is not in ALLOWED_HOSTS.")
    origin = headers.get(b"origin", b"").decode("latin-1")
    if not origin:
        if headers.get(b"sec-fetch-site") == b"cross-site":
            raise Rejected(403, "Streams are not read from other sites.")
        return None
    if _netloc(origin) == host.lower():
        return None
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return origin
    raise Rejected(403, "This origin is not in CSRF_TRUSTED_ORIGINS.")


@lru_cache(MOST_HOSTS)
def _is_known(host: str, allowed: tuple[str, ...]) -> bool:
    return validate_host(split_domain_port(host)[0], allowed)


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _query(scope: dict[str, Any]) -> dict[str, list[str]]:
    try:
        text = scope["query_string"].decode("ascii")
        return parse_qs(text, keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise Rejected(400, "The query string cannot be read.") from error


def _wish(name: str, query: dict[str, list[str]]) -> Wish:
    channels = tuple(dict.fromkeys(query.get("channel", ())))
    if len(channels) > current().CHANNELS_PER_STREAM:
        raise Rejected(400, f"At most {current().CHANNELS_PER_STREAM} channels a stream.")
    if name and channels:
        raise Rejected(400, "Name the channel in the path or in the query, not in both.")
    if "channel" in query and "" in channels:
        raise Rejected(400, "A channel is empty.")
    return Wish(name or None, channels) if name or channels else OWN


def _caller(scope: dict[str, Any], headers: dict[bytes, bytes]) -> tuple[Caller, str | None]:
    """Return who asks, and their pass if they show one."""
    if current().AUTHENTICATE is not None:
        return Caller(request=ASGIRequest(scope, BytesIO())), None
    # Django's own reading: the standard library's drops all cookies for one that it does not like.
    cookies = parse_cookie(headers.get(b"cookie", b"").decode("latin-1"))
    return Caller(session_key=cookies.get(settings.SESSION_COOKIE_NAME)), cookies.get(PASS_COOKIE)


def _cursor_text(headers: dict[bytes, bytes], query: dict[str, list[str]]) -> str:
    """Return the resume text: the header, which a reconnecting EventSource keeps current, before the query."""
    if LAST_EVENT_ID in headers:
        return headers[LAST_EVENT_ID].decode("latin-1")
    texts = query.get("after", []) + query.get("lastEventId", [])
    if len(set(texts)) > 1:
        raise Rejected(400, "Two different cursors.")
    return texts[0] if texts else ""


def _cursor(text: str) -> Cursor | None:
    try:
        return Cursor.parse(text)
    except InvalidCursor:
        return None
