"""What a request may look like, as tables. No database and no server: a scope in, an answer out."""

from typing import Any

import pytest
from django.test import override_settings

from taskbell.gateway.request import Rejected, StreamRequest, read_request
from taskbell.gateway.stream import ACCOUNT, response_headers
from taskbell.ground.cursor import Cursor

OURS = "https://example.com"
HOST = (b"host", b"example.com")
GOOD = Cursor("k3f9", 1043, "x7Qa")


def scope(
    *headers: tuple[bytes, bytes], method: str = "GET", query: str = "", host: bool = True, **more: Any
) -> dict[str, Any]:
    return {
        "type": "http",
        "method": method,
        "path": "/events/",
        "query_string": query.encode("latin-1"),
        "headers": [*([HOST] if host else []), *headers],
        "client": ("192.0.2.1", 5000),
    } | more


def read(*headers: tuple[bytes, bytes], name: str = "", **options: Any) -> StreamRequest:
    return read_request(scope(*headers, **options), name)


def status(*headers: tuple[bytes, bytes], **options: Any) -> int:
    try:
        read(*headers, **options)
    except Rejected as rejected:
        return rejected.status
    return 200


# What is asked for


def test_nothing_named_is_the_own_stream() -> None:
    assert read().wish.own
    assert read(name="yamkant").wish.own
    assert not read(name="public:news").wish.own
    assert not read(query="channel=public:news").wish.own


def test_channels_are_read_from_the_query_once_each_in_order() -> None:
    assert read(query="channel=a:1&channel=b%3A2&channel=a:1").wish.channels == ("a:1", "b:2")


@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        ("channel=", "", 400),
        ("channel=a:1&channel=", "", 400),
        ("channel=a:1", "b:1", 400),
        ("channel=a:1", "yamkant", 400),
        ("channel=%ff", "", 400),
        ("channel=\xff", "", 400),
        ("unknown=1", "", 200),
        ("after=a&lastEventId=b", "", 400),
        ("after=a&after=b", "", 400),
        ("after=a&lastEventId=a", "", 200),
    ],
)
def test_queries(query: str, name: str, expected: int) -> None:
    assert status(query=query, name=name) == expected


@override_settings(TASKBELL={"CHANNELS_PER_STREAM": 3})
def test_more_channels_than_allowed() -> None:
    assert status(query="&".join(f"channel=a:{n}" for n in range(3))) == 200
    assert status(query="&".join(f"channel=a:{n}" for n in range(4))) == 400
    assert status(query="&".join(["channel=a:1"] * 4)) == 200, "the same one is one"


def test_more_fields_than_anyone_needs() -> None:
    assert status(query="&".join(["channel=a:1"] * 1_101)) == 400


# How it is framed


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE", "CONNECT", "PRI", "get"])
def test_only_get(method: str) -> None:
    assert status(method=method) == 405


@pytest.mark.parametrize(
    "header",
    [
        *((b"content-length", value) for value in [b"5", b"+0", b"0x0", b"-1", b"0, 0", b"00", b"", b"9" * 20]),
        *((b"transfer-encoding", value) for value in [b"chunked", b"identity", b"", b"xchunked", b"\x0bchunked"]),
        *((b"upgrade", value) for value in [b"h2c", b"websocket", b""]),
        *((b"expect", value) for value in [b"100-continue", b"garbage"]),
    ],
)
def test_no_body_and_nothing_to_negotiate(header: tuple[bytes, bytes]) -> None:
    assert status(header) == 400


def test_a_length_of_zero_is_no_body() -> None:
    assert status((b"content-length", b"0")) == 200


@pytest.mark.parametrize("name", [b"host", b"origin", b"content-length", b"last-event-id"])
def test_what_decides_stands_there_once(name: bytes) -> None:
    value = {b"host": b"example.com", b"origin": OURS.encode(), b"content-length": b"0"}.get(name, b"x")
    assert status((name, value), (name, value), host=False) == 400


@override_settings(TASKBELL={"HEADER_BYTES": 500})
def test_a_head_over_the_bound() -> None:
    assert status((b"x", b"y" * 300)) == 200
    assert status((b"x", b"y" * 300), (b"z", b"y" * 300)) == 431
    assert status(query="a=" + "b" * 600) == 431


# Where it comes from


@override_settings(ALLOWED_HOSTS=["example.com", ".example.org"])
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"example.com", 200),
        (b"example.com:8001", 200),
        (b"EXAMPLE.com", 200),
        (b"sub.example.org", 200),
        (b"evil.com", 400),
        (b"example.com.evil.tld", 400),
        (b"evil@example.com", 400),
        (b"", 400),
        (b"[::1", 400),
        (b"example.com:port", 400),
        (b"\xff", 400),
    ],
)
def test_hosts(host: bytes, expected: int) -> None:
    assert status((b"host", host), host=False) == expected


@override_settings(ALLOWED_HOSTS=["example.com"])
def test_no_host() -> None:
    assert status(host=False) == 400


@override_settings(ALLOWED_HOSTS=[], DEBUG=True)
def test_in_development_this_machine_needs_no_allowing() -> None:
    assert status((b"host", b"localhost:8000"), host=False) == 200
    assert status((b"host", b"evil.com"), host=False) == 400


@override_settings(CSRF_TRUSTED_ORIGINS=["https://app.example.net"])
@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("https://example.com", 200),
        ("https://EXAMPLE.com", 200),
        ("https://app.example.net", 200),
        ("http://app.example.net", 403),
        ("https://app.example.net:444", 403),
        ("https://example.com:444", 403),
        ("https://example.com.evil", 403),
        ("https://evil-example.com", 403),
        ("https://user@example.com", 403),
        ("https://xn--exmple-cua.com", 403),
        ("null", 403),
        ("https://", 403),
        ("http://[::1", 403),
        ("garbage", 403),
        ("\xff", 403),
    ],
)
def test_origins(origin: str, expected: int) -> None:
    assert status((b"origin", origin.encode("latin-1"))) == expected


@pytest.mark.parametrize(
    ("site", "expected"),
    [(b"cross-site", 403), (b"same-origin", 200), (b"same-site", 200), (b"none", 200), (b"anything", 200)],
)
def test_without_an_origin_the_browser_still_says_where_from(site: bytes, expected: int) -> None:
    assert status((b"sec-fetch-site", site)) == expected


@override_settings(CSRF_TRUSTED_ORIGINS=["https://app.example.net"])
def test_only_a_trusted_foreign_origin_is_named_in_the_answer() -> None:
    assert read((b"origin", b"https://app.example.net"), (b"sec-fetch-site", b"cross-site")).origin is not None
    assert read((b"origin", b"https://example.com")).origin is None
    assert read().origin is None


@override_settings(CSRF_TRUSTED_ORIGINS=["https://app.example.net"])
def test_a_page_on_a_trusted_origin_may_read_whose_a_stream_is() -> None:
    head = dict(response_headers(read((b"origin", b"https://app.example.net")), "7"))
    assert head[b"access-control-expose-headers"] == ACCOUNT
    assert ACCOUNT in head
    assert b"access-control-expose-headers" not in dict(response_headers(read(), "7"))


# Who asks


@pytest.mark.parametrize(
    "cookies",
    [
        [b"sessionid=abc"],
        [b"theme=dark; sessionid=abc; csrftoken=x"],
        [b"theme=dark", b"sessionid=abc"],
        [b'prefs={"a": 1}; sessionid=abc'],
        [b"odd name=1; sessionid=abc"],
        [b"k\xc3\xa9=\xff; sessionid=abc"],
        [b"a[b]=c; sessionid=abc"],
    ],
)
def test_the_session_is_found_among_whatever_cookies_a_browser_holds(cookies: list[bytes]) -> None:
    assert read(*((b"cookie", cookie) for cookie in cookies)).caller.session_key == "abc"


@pytest.mark.parametrize("cookie", [b"", b"=", b";;;", b"session=abc", b"sessionid", b"\xff" * 8_000])
def test_no_session(cookie: bytes) -> None:
    assert not read((b"cookie", cookie)).caller.session_key


@override_settings(TASKBELL={"AUTHENTICATE": "tests.gateway.rules.by_token"})
def test_where_the_project_authenticates_it_is_given_the_request() -> None:
    caller = read((b"authorization", b"Bearer 5"), query="a=1").caller
    assert caller.request is not None
    assert caller.request.headers["Authorization"] == "Bearer 5"
    assert caller.request.GET["a"] == "1"


# Where it resumes


def test_the_header_comes_before_the_query() -> None:
    """An EventSource opened at `?after=…` keeps that address for ever, and only its header moves on."""
    assert read(query=f"after={GOOD}").cursor == GOOD
    assert read(query=f"lastEventId={GOOD}").cursor == GOOD
    newer = Cursor("k3f9", 2000, "zzzz")
    assert read((b"last-event-id", str(newer).encode()), query=f"after={GOOD}").cursor == newer


def test_without_a_place_the_stream_begins_now() -> None:
    for request in [read(), read((b"last-event-id", b"")), read(query="after=")]:
        assert (request.cursor, request.unknown_cursor) == (None, False)


BAD_CURSORS = [
    "0",
    "-1",
    str(2**63),
    str(2**64),
    "1e9",
    "١٢٣",
    "+5",
    "0x10",
    "x" * 129,
    "x" * 8_000,
    "<",
    "1.k3f9.١.x7Qa",
    "1.k3f9.-1.x7Qa",
    "1.k3f9.01.x7Qa",
    "1.k3f9.+5.x7Qa",
    "1.k3f9.1e3.x7Qa",
    f"1.k3f9.{2**63}.x7Qa",
    f"1.k3f9.{10**40}.x7Qa",
    "2.k3f9.1043.x7Qa",
    "1.k3f9.1043",
    "1.k3f9.1043.",
    "1..1043.x7Qa",
    "1.k3f9.1043.x7Qa.more",
    "1.k3f9.1043.x7Qa\x00",
    "1.k3f9.1043.x7Qa\r\nevent: forged",
    "1.k3f9.1043.x7Qa\n",
    "1.k3f9.1043.x7Q\xe9",
    "k.k3f9.1043.x7Qa",
    "user:5",
]


@pytest.mark.parametrize("text", BAD_CURSORS, ids=lambda text: ascii(text[:40]))
def test_what_is_no_cursor_is_said_to_be_unknown(text: str) -> None:
    request = read((b"last-event-id", text.encode()))
    assert (request.cursor, request.unknown_cursor) == (None, True)


def test_bytes_that_are_no_text_are_unknown_too() -> None:
    assert read((b"last-event-id", b"\xff\xfe\x00")).unknown_cursor
