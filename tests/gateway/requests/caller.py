"""Where a request comes from, and who asks: Origin, Sec-Fetch-Site, cookies."""

from tests.gateway.requests.case import HOST, STREAM, Case, get, with_line

OWN = b"/events/"
#: As in the settings of the stage: CSRF_TRUSTED_ORIGINS.
FRIEND = b"https://friend.example"

ORIGINS = [
    *(
        Case(f"origin {origin!r}", with_line(b"Origin: " + origin), 403)
        for origin in [
            b"null",
            b"*",
            b"127.0.0.1",
            b"http://127.0.0.1:1",
            b"https://127.0.0.1:1",
            b"http://127.0.0.1.evil.example",
            b"http://evil127.0.0.1",
            b"http://127.0.0.1@evil.example",
            b"http://127.0.0.1, http://evil.example",
            b"https://xn--exmple-cua.com",
            "http://exámple.com".encode(),
            b"http://friend.example",
            b"https://friend.example.evil.example",
            b"https://friend.example:444",
            b"HTTPS://",
            b"http://[::1",
            b"javascript:alert(1)",
            b"\xff",
        ]
    ),
    Case("the own origin", with_line(b"Origin: http://" + HOST), STREAM),
    Case("a friend", with_line(b"Origin: " + FRIEND), STREAM),
    Case("an empty origin", with_line(b"Origin:"), STREAM),
    Case("two origins", with_line(b"Origin: http://" + HOST + b"\r\nOrigin: http://evil.example"), 400),
    Case("a friend, from another site", with_line(b"Origin: " + FRIEND + b"\r\nSec-Fetch-Site: cross-site"), STREAM),
    Case("cross-site, without an origin", with_line(b"Sec-Fetch-Site: cross-site"), 403),
    Case("cross-site, said second", with_line(b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site"), 403),
    Case("same-origin", with_line(b"Sec-Fetch-Site: same-origin"), STREAM),
]
COOKIES = [
    Case("nobody", get(OWN), 401),
    *(
        Case(f"cookie {cookie[:30]!r}", get(OWN, b"Cookie: " + cookie), 401)
        for cookie in [
            b"sessionid=" + b"a" * 32,
            b"sessionid=" + b"a" * 8_000,
            b'sessionid="\\000"',
            b"sessionid=a; sessionid=b",
            b"sessionid=\xff\xfe; \x80=\x80",
            b'sessionid="a\\"b;; =;',
            b"sessionid=%0d%0aFORGED",
            b"; ".join(b"c%d=v" % number for number in range(800)),
        ]
    ),
]
CASES = [*ORIGINS, *COOKIES]
