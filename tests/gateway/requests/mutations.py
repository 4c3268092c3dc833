"""Requests and cursors made from a seed: good ones, the table's, both with something changed, made-up ones, noise."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote_from_bytes

from taskbell.ground.cursor import Cursor
from tests.gateway.requests import caller, framing, headers, query, request_line
from tests.gateway.requests.case import GOOD, HOST

# The largest rows are about size alone, and mutated ones would be about nothing else.
ROWS: Final = [
    case.sent
    for group in (request_line, headers, framing, caller, query)
    for case in group.CASES
    if len(case.sent) < 2_000
]
METHODS: Final = [b"GET"] * 12 + [b"HEAD", b"POST", b"OPTIONS", b"get", b"GET GET", b"", b"PRI", b"CONNECT", b"\xffET"]
VERSIONS: Final = [b"HTTP/1.1"] * 12 + [
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/1.1 x",
    b"http/1.1",
    b"RTSP/1.0",
    b"",
]
LINE_ENDS: Final = [b"\r\n"] * 16 + [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\0\r\n"]
PATHS: Final = [b"/events/", b"/events/public:news/", b"/events/project:secret/", b"/events/secret/", b"/events/mine/",
                b"/events", b"//events/", b"/", b"*", b"/livez", b"/readyz", b"/events/taskbell:control/",
                b"http://127.0.0.1/events/public:news/", b"/events/../events/", b"/events/%70ublic:news/"]  # fmt: skip
NAMES: Final = [b"Host", b"host", b"Origin", b"Cookie", b"Content-Length", b"Transfer-Encoding", b"Connection",
                b"Upgrade", b"Expect", b"Last-Event-ID", b"Sec-Fetch-Site", b"Accept", b"X-Forwarded-For", b"X Y", b"",
                b"X\xff", b"TE", b"Trailer", b"Sec-WebSocket-Key", b"HTTP2-Settings"]  # fmt: skip
VALUES: Final = [b"", b"0", b"5", b"-1", b"+0", b"chunked", b"identity", b"close", b"keep-alive", b"upgrade", b"h2c",
                 b"websocket", b"100-continue", b"cross-site", b"null", b"http://evil.example", HOST, b"evil.example",
                 b"sessionid=x", b"a=b; c", b"\xff\xfe", b"\0", b"a\r\n b", b"x" * 3_000,
                 b"203.0.113.9, 10.0.0.1"]  # fmt: skip
TOKENS: Final = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"\r\n\r\n", b"\xff", b"%00", b"%0d%0a", b"%",
                 b"#", b"?", b"&channel=", b"&after=", b"FORGED", b"Host: x\r\n", b"Content-Length: 1\r\n", b"HTTP/1.1",
                 b"GET / ", b"Transfer-Encoding: chunked\r\n", "é".encode(), b"\x1b[31m", b"{}", b"../"]  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """What one connection is told: pieces in writes of their own, and whether that is said to be all."""

    pieces: tuple[bytes, ...]
    ends: bool

    @property
    def data(self) -> bytes:
        """Return all of it."""
        return b"".join(self.pieces)


class Generator:
    """Makes the request of any number; the same seed and number make the same, given the same cursors and session."""

    def __init__(self, seed: int, cursors: Sequence[Cursor], session: bytes) -> None:
        self.seed = seed
        self._cursors = cursors
        self._session = session
        self._makers: list[tuple[int, Callable[[random.Random], bytes]]] = [
            (15, self._good),
            (25, lambda chance: _changed(self._good(chance), chance)),
            (20, lambda chance: _changed(chance.choice(ROWS), chance)),
            (5, lambda chance: chance.choice(ROWS)),
            (30, self._made_up),
            (4, lambda chance: chance.randbytes(chance.randrange(400))),
            (
                1,
                lambda chance: _changed(
                    GOOD.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * chance.randrange(40_000)), chance
                ),
            ),
        ]

    def request(self, number: int) -> Sent:
        chance = random.Random(f"{self.seed} {number}")
        weights, makers = zip(*self._makers, strict=True)
        data = chance.choices(makers, weights)[0](chance)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice([0, 0, 0, 1, 2, 3])))
        pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        # Most say that this is all: else whatever is no whole request would wait for HEADER_TIME.
        return Sent(tuple(filter(None, pieces)), ends=chance.random() < 0.9 and b"\r\n\r\n" not in data)

    def cursor(self, chance: random.Random) -> bytes:
        """Return a cursor of this log, one of another, one that may be, or none."""
        real = chance.choice(self._cursors)
        other = chance.choice(self._cursors)
        made = chance.choice(
            [
                real,
                Cursor("other", real.seq, real.nonce),
                Cursor(real.log_id, real.seq + chance.choice([-1, 1, 1000, 2**62]), real.nonce),
                Cursor(real.log_id, real.seq, other.nonce),
                Cursor(real.log_id, 0, "0"),
            ]
        )
        text = str(made).encode()
        return chance.choice([text, text, text, _changed(text, chance), text[: chance.randrange(len(text))], b""])

    def _good(self, chance: random.Random) -> bytes:
        target = chance.choice(PATHS[:4])
        lines = [b"Host: " + HOST]
        if chance.random() < 0.3:
            lines.append(b"Cookie: sessionid=" + self._session)
        if chance.random() < 0.5:
            lines.append(b"Last-Event-ID: " + self.cursor(chance))
        elif chance.random() < 0.5:
            target += b"?after=" + quote_from_bytes(self.cursor(chance)).encode()
        return b"\r\n".join([b"GET " + target + b" HTTP/1.1", *lines, b"", b""])

    def _made_up(self, chance: random.Random) -> bytes:
        end = chance.choice(LINE_ENDS)
        line = b" ".join([chance.choice(METHODS), chance.choice(PATHS), chance.choice(VERSIONS)])
        values = [*VALUES, b"sessionid=" + self._session, self.cursor(chance)]
        colon = chance.choice([b": "] * 12 + [b":", b" : ", b":\t", b""])
        pairs = [chance.choice(NAMES) + colon + chance.choice(values) for _ in range(chance.randrange(6))]
        if chance.random() < 0.8:
            pairs.insert(0, b"Host: " + HOST)
        return end.join([line, *pairs, b"", chance.choice([b""] * 6 + [b"0\r\n\r\n", b"hello", GOOD])])


def _changed(data: bytes, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(data) + 1)
        until = min(len(data), at + chance.choice([1, 1, 2, 8, 64]))
        middle = chance.choice(
            [
                b"",
                data[at:until] * 2,
                chance.choice(TOKENS),
                chance.choice(TOKENS) + data[at:until],
                bytes(byte ^ (1 << chance.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 : until],
            ]
        )
        data = data[:at] + middle + data[until:]
    return data
