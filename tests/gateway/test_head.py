"""Whether a request stands alone in its bytes, and what it says then."""

import pytest

from taskbell.conf import DEFAULTS
from taskbell.gateway.head import read_head, stands_alone

GOOD = b"GET /events/?channel=a:b HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "head", [GOOD, b"\r\n" + GOOD, b"GET / HTTP/1.0\r\n\r\n", GOOD.replace(b"/events/", b"/%ff;'()~{|}\\^`<>")]
)
def test_one_get(head: bytes) -> None:
    assert stands_alone(head)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\r\n",
        GOOD + b"x",
        GOOD + GOOD,
        b"\r\n\r\n" + GOOD,
        b"\n" + GOOD,
        b" " + GOOD,
        GOOD.replace(b"GET", b"POST"),
        GOOD.replace(b"GET ", b"GET  "),
        GOOD.replace(b" HTTP", b"  HTTP"),
        GOOD.replace(b"HTTP/1.1", b"RTSP/1.0"),
        GOOD.replace(b"1.1", b"2.0"),
        GOOD.replace(b"/events", b"http://x/events"),
        GOOD.replace(b"/events", b"*"),
        GOOD.replace(b"?", b"#"),
        GOOD.replace(b"?", b"\xff"),
        GOOD.replace(b"\r\n", b"\n"),
    ],
)
def test_anything_else(head: bytes) -> None:
    assert not stands_alone(head)
    assert read_head(head) is None


def test_what_it_says() -> None:
    assert read_head(GOOD.replace(b"/events/", b"/%65vents/")) == {
        "type": "http",
        "method": "GET",
        "http_version": "1.1",
        "path": "/events/",
        "raw_path": b"/%65vents/",
        "query_string": b"channel=a:b",
        "headers": [(b"host", b"x")],
    }


@pytest.mark.parametrize(
    "line",
    [
        b"no colon",
        b"a b: c",
        b": nothing",
        b"x: \0",
        b"Content-Length: x",
        b"Connection: upgrade\r\nUpgrade: websocket",
        b"x: " + b"y" * DEFAULTS["HEADER_BYTES"],
    ],
)
def test_what_is_for_the_server_to_answer(line: bytes) -> None:
    assert read_head(GOOD.replace(b"Host: x", line)) is None
