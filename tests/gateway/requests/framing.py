"""Bodies, and bytes after the request: a stream has neither."""

from tests.gateway.requests.case import GOOD, HEAD, STREAM, WAITS, Case, with_line

PAGE = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

LENGTHS = [
    Case("a length of 0", with_line(b"Content-Length: 0"), STREAM),
    *(
        Case(f"a length of {length!r}", with_line(b"Content-Length: " + length) + b"hello", 400)
        for length in [b"5", b"+5", b"5_0", b"0x5", b"-1", b"5, 5", b"5, 6", b"9" * 20, b"", b"0 0", b"5;", b"\xb2"]
    ),
    Case("a length of 00", with_line(b"Content-Length: 00"), 400, nginx=STREAM),
    Case("a length, and no body", with_line(b"Content-Length: 5"), 400, nginx=WAITS),
    Case("two lengths", with_line(b"Content-Length: 5\r\nContent-Length: 6") + b"hello", 400),
    Case("the same length twice", with_line(b"Content-Length: 0\r\nContent-Length: 0"), 400, h11=STREAM),
    Case("a space before the colon of the length", with_line(b"Content-Length : 0"), 400),
]
# nginx reads chunks itself and passes a length on; an empty body is none.
CODINGS = [
    *(
        Case(
            f"transfer encoding {coding!r}", with_line(b"Transfer-Encoding: " + coding) + LAST_CHUNK, 400, nginx=STREAM
        )
        for coding in [b"chunked", b"Chunked "]
    ),
    *(
        Case(f"transfer encoding {coding!r}", with_line(b"Transfer-Encoding: " + coding) + LAST_CHUNK, 400, nginx=501)
        for coding in [
            b"xchunked",
            b"chunked, identity",
            b"identity, chunked",
            b"\x0bchunked",
            b"identity",
            b"",
            b"gzip, chunked",
            b'"chunked"',
        ]
    ),
    Case("transfer encoding folded", with_line(b"Transfer-Encoding:\r\n chunked") + LAST_CHUNK, 400),
    Case("transfer encoding with a space", with_line(b"Transfer-Encoding : chunked") + LAST_CHUNK, 400),
    Case("both", with_line(b"Content-Length: 5\r\nTransfer-Encoding: chunked") + LAST_CHUNK, 400),
    Case("both, in the other order", with_line(b"Transfer-Encoding: chunked\r\nContent-Length: 0") + LAST_CHUNK, 400),
    Case("chunked by 1.0", CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + LAST_CHUNK, 400),
]
CHUNKS = [
    *(
        Case(f"a chunk of size {size!r}", CHUNKED + size + b"\r\na\r\n0\r\n\r\n", 400)
        for size in [b"1", b"0_2e", b"+1", b"0x1", b"1;ext", b"1;ext\r", b"-1", b"F" * 17, b"", b" 1", b"1 "]
    ),
    Case("chunks by LF", CHUNKED + b"1\na\n0\n\n", 400),
    Case("a trailer", CHUNKED + b"0\r\nHost: evil.example\r\n\r\n", 400, nginx=STREAM),
    Case("chunks without an end", CHUNKED + b"5\r\nab", 400, nginx=WAITS),
]
# The others serve the first request and keep what follows for later, which never comes.
BEHIND = [
    Case("a second request", GOOD + GOOD, 400, httptools=STREAM, h11=STREAM, nginx=STREAM),
    Case("a second request for a page", GOOD + PAGE, 400, httptools=STREAM, h11=STREAM, nginx=STREAM),
    Case("half a second request", GOOD + b"GET /", 400, httptools=STREAM, h11=STREAM, nginx=STREAM),
    Case("a byte", GOOD + b"\0", 400, h11=STREAM, nginx=STREAM),
    Case("garbage", GOOD + b"FORGED\r\n\r\n", 400, h11=STREAM, nginx=STREAM),
    Case("1 MB", GOOD + b"x" * 1_000_000, 400, h11=STREAM, nginx=STREAM),
    Case(
        "a second request after close",
        with_line(b"Connection: close") + GOOD,
        400,
        httptools=STREAM,
        h11=STREAM,
        nginx=STREAM,
    ),
    Case(
        "garbage after close",
        with_line(b"Connection: close") + b"FORGED\r\n",
        400,
        httptools=STREAM,
        h11=STREAM,
        nginx=STREAM,
    ),
    # The page is answered first: 200 by `serve`, 404 by the tests' site, 502 by nginx without a site.
    Case("a request for a page before", PAGE + GOOD, {200, 404}, nginx=502, elsewhere=True),
]
CASES = [*LENGTHS, *CODINGS, *CHUNKS, *BEHIND]
