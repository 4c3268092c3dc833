"""The request line: forms of the target, methods, versions, and what is no HTTP at all."""

from tests.gateway.requests.case import END, GOOD, HOST, LINE, PATH, STREAM, WAITS, Case, get

LINE_ENDS = [
    Case("in order", GOOD, STREAM),
    Case("a byte at a time", GOOD, STREAM, pieces=1),
    Case("LF after the line", GOOD.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"), 400, h11=STREAM, nginx=STREAM),
    Case("LF everywhere", GOOD.replace(b"\r\n", b"\n"), 400, h11=STREAM, nginx=STREAM),
    Case("LF CR everywhere", GOOD.replace(b"\r\n", b"\n\r"), 400),
    Case("CR after the line", GOOD.replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r"), 400),
    Case("one empty line before", END + GOOD, STREAM, h11=400),
    Case("two empty lines before", END + END + GOOD, 400, httptools=STREAM, nginx=STREAM),
    Case("LF before", b"\n" + GOOD, 400, httptools=STREAM, nginx=STREAM),
    Case("a space before", b" " + GOOD, 400),
    Case("two spaces before the target", GOOD.replace(b"GET ", b"GET  "), 400, httptools=STREAM, nginx=STREAM),
    Case("two spaces after the target", GOOD.replace(b" HTTP", b"  HTTP"), 400, httptools=STREAM, nginx=STREAM),
    Case("a space after the version", GOOD.replace(b"HTTP/1.1", b"HTTP/1.1 "), 400, nginx=STREAM),
    Case("tabs", GOOD.replace(LINE, LINE.replace(b" ", b"\t")), 400),
]
# What is under no prefix is answered by the site's pages: here 404, and behind nginx 502, because no site runs.
TARGETS = [
    Case("absolute form", get(b"http://" + HOST + PATH), 400, httptools=STREAM, h11=404, nginx=STREAM, elsewhere=True),
    Case(
        "absolute form of another host",
        get(b"http://evil.example" + PATH),
        400,
        httptools=STREAM,
        h11=404,
        nginx=STREAM,
        elsewhere=True,
    ),
    Case("asterisk", get(b"*"), 404, nginx=400, elsewhere=True),
    Case("two slashes", get(b"/" + PATH), 404, elsewhere=True),
    Case("no slash", get(PATH[1:]), 400, h11=404, elsewhere=True),
    Case("a fragment", get(PATH + b"#there"), 400, httptools=STREAM, h11=404),
    Case("a backslash", get(b"\\events\\public:news\\"), 400, h11=404, elsewhere=True),
    Case("dots out of the prefix, which are somebody's name", get(b"/events/../livez"), 401, nginx=502),
    Case("dots into the prefix", get(b"/x/.." + PATH), 404, elsewhere=True),
    Case("dots in percent", get(b"/events/%2e%2e/public:news/"), 404, nginx=502),
    Case("NUL in percent", get(b"/events/public:%00/"), 404, nginx=400),
    Case("CR LF in percent", get(b"/events/public:a%0d%0aFORGED/"), 404),
    Case("half a percent", get(b"/events/public:%/"), 404, nginx=400),
    Case("a byte over ASCII", get(b"/events/public:\xff/"), 400),
    Case("a byte over ASCII in the query", get(PATH + b"?a=\xff"), 400),
    Case("NUL", get(b"/events/public:\0/"), 400),
    Case("DEL", get(b"/events/public:\x7f/"), 400),
    Case("ESC", get(b"/events/\x1b[31mFORGED/"), 400),
    Case("64 KB of path", get(b"/events/public:" + b"a" * 65_536 + b"/"), {400, 431}, nginx=414),
    Case("64 KB of query", get(PATH + b"?a=" + b"b" * 65_536), {400, 431}, nginx=414),
]
METHODS = [
    *(
        Case(method.decode(), get(PATH, b"Content-Length: 0", method=method), 405)
        for method in [b"HEAD", b"OPTIONS", b"POST", b"PUT", b"PATCH", b"DELETE", b"PROPFIND"]
    ),
    Case("TRACE", get(PATH, method=b"TRACE"), 405),
    Case("POST with a body", get(PATH, b"Content-Length: 5", method=b"POST") + b"hello", 405),
    Case("lower case", get(PATH, method=b"get"), 400, h11=405),
    Case("an unknown method", get(PATH, method=b"FETCH"), 400, h11=405, nginx={400, 405}),
    Case("CONNECT to a path", get(PATH, method=b"CONNECT"), 405, nginx=400),
    Case("CONNECT to a host", get(b"evil.example:443", method=b"CONNECT"), 400, h11=404, nginx=405, elsewhere=True),
    Case("PRI", get(PATH, method=b"PRI"), 400, h11=405),
]
VERSIONS = [
    # nginx answers HTTP/0.9 in kind, a page without a head.
    Case("no version", b"GET " + PATH + END + END, 400, nginx=WAITS),
    Case("no version, with headers", GOOD.replace(b" HTTP/1.1", b""), 400, nginx=WAITS),
    Case("0.9", get(PATH, version=b"HTTP/0.9"), 400),
    Case("1.0", get(PATH, version=b"HTTP/1.0"), STREAM),
    Case("1.0 without a host", b"GET " + PATH + b" HTTP/1.0\r\n\r\n", 400),
    Case("1.2", get(PATH, version=b"HTTP/1.2"), 400, nginx=STREAM),
    Case("2.0", get(PATH, version=b"HTTP/2.0"), 400, nginx=505),
    Case("9.9", get(PATH, version=b"HTTP/9.9"), 400, nginx=505),
    Case("1.10", get(PATH, version=b"HTTP/1.10"), 400, nginx=STREAM),
    Case("1", get(PATH, version=b"HTTP/1"), 400),
    Case("in lower case", get(PATH, version=b"http/1.1"), 400),
    Case("another protocol", get(PATH, version=b"RTSP/1.0"), 400, httptools=STREAM),
]
NO_REQUESTS = [
    Case("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", 400, h11=404, elsewhere=True),
    Case("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)), 400),
    Case("SSH", b"SSH-2.0-OpenSSH_9.9\r\n", 400, h11=WAITS),
    Case("SOCKS", b"\x05\x01\x00", 400),
    Case("PROXY protocol", b"PROXY TCP4 203.0.113.9 127.0.0.1 1 2\r\n" + GOOD, 400),
    Case("zeros", b"\0" * 1000, 400),
    Case("every byte", bytes(range(256)), 400),
    Case("a line of a log", b"\r\nFORGED\r\n\r\n", 400),
    Case("an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 400),
]
CASES = [*LINE_ENDS, *TARGETS, *METHODS, *VERSIONS, *NO_REQUESTS]
