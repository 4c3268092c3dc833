"""A row of the table: bytes, and what each kind of server answers."""

from dataclasses import KW_ONLY, dataclass
from typing import Final

HOST: Final = b"127.0.0.1"
PATH: Final = b"/events/public:news/"
LINE: Final = b"GET " + PATH + b" HTTP/1.1\r\n"
#: A head to which a row adds what it is about; `END` ends it.
HEAD: Final = LINE + b"Host: " + HOST + b"\r\n"
END: Final = b"\r\n"
GOOD: Final = HEAD + END
#: What a line in a log would begin with that a client had forged.
FORGED: Final = "FORGED"

STREAM: Final = 200
#: The server waits for more, for ever or for a minute; that is for the tests of time.
WAITS: Final = None
SAME: Final = -1

Status = int | set[int] | None


@dataclass(frozen=True)
class Case:
    """`sent`, and the status of the answer; a set where it depends on how bytes arrive.

    `ours` is for `serve` and for uvicorn with StreamProtocol. The other columns, where they differ: uvicorn's own two
    protocols, and nginx as in `deploy/` before `serve`, which answers or mends some itself.
    """

    name: str
    sent: bytes
    ours: Status
    _: KW_ONLY
    httptools: Status = SAME
    h11: Status = SAME
    nginx: Status = SAME
    #: What stands in the body, besides.
    says: bytes = b""
    #: True where the path is not the streams': pages keep their connection.
    elsewhere: bool = False
    #: Bytes in one write; 0 is all.
    pieces: int = 0

    def expected(self, column: str) -> set[int] | None:
        """Return the statuses that are right in a column, None where the server only waits."""
        status: Status = getattr(self, column)
        if status == SAME:
            status = self.ours
        return {status} if isinstance(status, int) else status


def get(path: bytes, *lines: bytes, version: bytes = b"HTTP/1.1", method: bytes = b"GET") -> bytes:
    """Return a request that is in order but for what is given."""
    return method + b" " + path + b" " + version + b"\r\n" + b"\r\n".join([b"Host: " + HOST, *lines, b"", b""])


def with_line(line: bytes) -> bytes:
    """Return the good request with one more header line."""
    return HEAD + line + b"\r\n" + END
