"""Whether a request stands alone in its bytes."""

import pytest

from taskbell.gateway.head import stands_alone

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
