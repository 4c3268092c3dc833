"""The header lines of the head: how they are written, which host they name, how many they are, what they ask."""

from tests.gateway.requests.case import END, GOOD, HEAD, HOST, LINE, STREAM, WAITS, Case, with_line

H2C = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
WEBSOCKET = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "


def whole(size: int) -> bytes:
    """Return a request of so many bytes."""
    return with_line(b"X: " + b"y" * (size - len(with_line(b"X: "))))


LINES = [
    Case("LF after a header", HEAD + b"X: y\n" + END, 400, h11=STREAM, nginx=STREAM),
    Case("LF ends the head", HEAD + b"\n", 400, h11=STREAM, nginx=STREAM),
    Case("CR in a value", with_line(b"X: a\rFORGED: b"), 400),
    Case("CR alone ends a header", HEAD + b"X: y\rZ: z\r\n" + END, 400),
    Case("LF CR after a header", HEAD + b"X: y\n\r" + END, 400, h11=WAITS),
    Case("a space before the colon", with_line(b"X : y"), 400),
    Case("a tab before the colon", with_line(b"X\t: y"), 400),
    Case("a space before the first header", LINE + b" X: y\r\nHost: " + HOST + END + END, 400),
    Case("a folded value", with_line(b"X: y\r\n z"), 400, h11=STREAM),
    Case("a value folded by a tab", with_line(b"X: y\r\n\tz"), 400, h11=STREAM),
    Case("no blank after the colon", with_line(b"X:y"), STREAM),
    Case("an empty value", with_line(b"X:"), STREAM),
    Case("no colon", with_line(b"X"), 400, nginx=STREAM),
    Case("no name", with_line(b": y"), 400),
    Case("a space in a name", with_line(b"X Y: z"), 400),
    Case("an empty line behind", GOOD + END, 400, httptools=STREAM, h11=STREAM, nginx=STREAM),
]
# nginx drops a header whose name it does not like.
BYTES = [
    *(Case(f"{byte!r} in a name", with_line(b"X" + byte + b"Y: z"), 400) for byte in [b"\0", b"\x7f"]),
    *(Case(f"{byte!r} in a name", with_line(b"X" + byte + b"Y: z"), 400, nginx=STREAM) for byte in [b"\x80", b"\xff"]),
    Case("a bracket in a name", with_line(b"X(Y: z"), 400, nginx=STREAM),
    Case("NUL in a value", with_line(b"X: y\0z"), 400),
    *(Case(f"{byte!r} in a value", with_line(b"X: y" + byte + b"z"), 400, h11=STREAM) for byte in [b"\x01", b"\x1b"]),
    *(Case(f"{byte!r} in a value", with_line(b"X: y" + byte + b"z"), STREAM) for byte in [b"\t", b"\x80", b"\xff"]),
]
HOSTS = [
    Case("no host", LINE + END, 400),
    Case("two hosts", with_line(b"Host: " + HOST), 400),
    Case("two hosts, the second another", with_line(b"Host: evil.example"), 400),
    *(
        Case(f"host {host!r}", LINE + b"Host: " + host + END + END, 400)
        for host in [
            b"",
            b"evil.example",
            b"127.0.0.1.evil.example",
            b"evil@127.0.0.1",
            b"127.0.0.1:port",
            b"127.0.0.1, evil.example",
            b"127.0.0.1/",
            b"[::1",
            b"\xff",
        ]
    ),
    Case("host with a port", LINE + b"Host: 127.0.0.1:8001" + END + END, STREAM),
    Case("HOST in capitals", LINE + b"HOST: " + HOST + END + END, STREAM),
]
# nginx takes 8 KB a line and 1,000 lines, answers what is more itself, and adds a header of its own.
SIZES = [
    Case("10,000 headers", HEAD + b"".join(b"X%d: y\r\n" % n for n in range(10_000)) + END, 431, nginx=400),
    Case("100 headers", HEAD + b"X: y\r\n" * 99 + END, STREAM, nginx=431),
    Case("101 headers", HEAD + b"X: y\r\n" * 100 + END, 431),
    Case("as many bytes as allowed", whole(16_384), STREAM, nginx=400),
    Case("a byte more", whole(16_385), 431, nginx=400),
    Case("as many bytes as allowed, in pieces", whole(16_384), STREAM, nginx=400, pieces=1_000),
    Case("a byte more, in pieces", whole(16_385), 431, nginx=400, pieces=1_000),
    Case("1 MB of a header", with_line(b"X: " + b"y" * 1_000_000), 431, h11=400, nginx=400),
    Case("1 MB of a name", with_line(b"X" * 1_000_000 + b": y"), 431, h11=400, nginx=400),
    Case("1 MB of blanks", with_line(b"X: " + b" " * 1_000_000 + b"y"), 431, httptools=STREAM, h11=400, nginx=400),
    Case("8,000 bytes of a header", with_line(b"X: " + b"y" * 8_000), STREAM),
]
# nginx keeps from the gateway what is between it and the browser, and so there is nothing to refuse.
ASKED = [
    Case("upgrade to h2c", with_line(H2C), 400, nginx=STREAM),
    Case("upgrade, not of the connection", with_line(b"Upgrade: h2c"), 400, nginx=STREAM),
    Case("an empty upgrade", with_line(b"Upgrade:"), 400, nginx=STREAM),
    # uvicorn hands it over to its own web sockets, for which this path does not exist.
    Case(
        "upgrade to a web socket",
        with_line(WEBSOCKET + b"dGhlIHNhbXBsZSBub25jZQ=="),
        {400, 403},
        nginx=STREAM,
        elsewhere=True,
    ),
    Case("expect 100", with_line(b"Expect: 100-continue"), 400, nginx={100, STREAM}),
    Case("expect garbage", with_line(b"Expect: garbage"), 400, nginx=STREAM),
    *(
        Case(line.decode("latin-1"), with_line(line), STREAM)
        for line in [
            b"Connection: close",
            b"Connection: close, keep-alive",
            b"Connection: ,,\xff;=",
            b"Connection: Host",
            # A stream is all there is, whatever would rather be taken.
            b"Accept: */*",
            b"Accept: application/json",
            b"Accept: text/event-stream;q=0",
            b"Accept:",
            b"Accept: \xff",
            b"Accept-Encoding: gzip",
            b"Accept-Encoding: br",
            b"Accept-Encoding: zstd",
            b"Accept-Encoding: identity;q=0",
            b"Range: bytes=0-",
            b"If-None-Match: *",
            b"TE: trailers",
            b"Cookie:",
            b"X-Forwarded-For: \xff,,;",
        ]
    ),
]
CASES = [*LINES, *BYTES, *HOSTS, *SIZES, *ASKED]
