"""Channels and cursors, in path, query and header."""

from tests.gateway.requests.case import PATH, STREAM, Case, get, with_line

UNKNOWN = b'data: {"reason":"unknown"}'


def several(*channels: bytes) -> bytes:
    return b"/events/?" + b"&".join(b"channel=" + channel for channel in channels)


def many(count: int) -> bytes:
    return several(*(b"public:%d" % number for number in range(count)))


CHANNELS = [
    Case("as many channels as allowed", get(many(100)), STREAM),
    Case("one more", get(many(101)), 400),
    Case("1,001 channels", get(many(1_001)), 431, nginx=414),
    Case("the same one 400 times", get(several(*[b"public:a"] * 400)), STREAM),
    Case("more fields than anybody needs", get(b"/events/?" + b"&".join([b"a=b"] * 1_101)), 400),
    Case("an empty one", get(several(b"")), 400),
    Case("an empty one among others", get(several(b"public:a", b"")), 400),
    Case("in path and query", get(PATH + b"?channel=public:a"), 400),
    Case("one that is not allowed among others", get(several(b"public:a", b"project:1")), 404),
    Case("no UTF-8", get(several(b"public:%ff")), 400),
    Case("a semicolon between two", get(several(b"public:a;channel=public:b")), 404),
    # Without a colon it is somebody's name, and nobody is signed in.
    Case("a look-alike colon", get(b"/events/public%EF%BC%9Anews/"), 401),
    Case("128 characters", get(b"/events/public:" + b"a" * 121 + b"/"), STREAM),
    *(
        Case(f"channel {channel[:24]!r}", get(several(channel)), 404)
        for channel in [
            b"user:1",
            b"taskbell:control",
            b"project:1",
            b"p%D1%83blic:news",
            b"PUBLIC:news",
            b"public:",
            b"public:" + b"a" * 122,
            b"public:%00",
            b"public:a%0d%0aFORGED",
            b"public:a/b",
            b"public:*",
            b"public:a+b",
            b"public:a:b",
            b"%20public:a",
        ]
    ),
]
# What a cursor of this log may become is tried in test_history.py.
CURSORS = [
    Case("two cursors", get(PATH + b"?after=a&after=b"), 400),
    Case("two cursors by both names", get(PATH + b"?after=a&lastEventId=b"), 400),
    Case("two headers", with_line(b"Last-Event-ID: 1\r\nLast-Event-ID: 1"), 400),
    Case("header and query", get(PATH + b"?after=a", b"Last-Event-ID: b"), STREAM, says=UNKNOWN),
    Case("an empty one", with_line(b"Last-Event-ID:"), STREAM),
    Case("CR in it", with_line(b"Last-Event-ID: 1\rFORGED: 1"), 400),
    Case("NUL in it", with_line(b"Last-Event-ID: 1\0"), 400),
    Case("7 KB in the query", get(PATH + b"?after=" + b"x" * 7_000), STREAM, says=UNKNOWN),
    Case("an event in the query", get(PATH + b"?after=1%0a%0adata:%20FORGED"), STREAM, says=UNKNOWN),
    *(
        Case(f"cursor {text[:24]!r}", with_line(b"Last-Event-ID: " + text), STREAM, says=UNKNOWN)
        for text in [
            b"0",
            b"-1",
            b"%d" % 2**63,
            b"%d" % 2**64,
            b"1e9",
            "١٢٣".encode(),
            b"+5",
            b"0x10",
            b"x" * 129,
            b"x" * 8_000,
            b"<",
            b"\xff\xfe",
            b"user:5",
            b"'; DROP TABLE log; --",
        ]
    ),
]
CASES = [*CHANNELS, *CURSORS]
