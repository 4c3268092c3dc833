"""The request head as bytes: what a parser that makes names and values of them does not show, and what it does."""

import re
from typing import Any, Final
from urllib.parse import unquote

import httptools

from taskbell.conf import current

# The path is this server's own: an absolute form would name a second host, and a fragment is no part of a request.
# One empty line may come before, as RFC 9112 has it (2.2). RTSP and HTTP/2 in the clear look alike to some parsers.
REQUEST_LINE: Final = re.compile(rb'(?:\r\n)?GET (/[!"$-~]*) HTTP/(1\.[01])\r\n')
END: Final = b"\r\n\r\n"


def stands_alone(received: bytes) -> bool:
    """Tell whether the bytes received so far are the head of one GET, with nothing after it.

    What comes after would be a second request, or a body: a parser may drop it, and a proxy before us may not.
    """
    line = REQUEST_LINE.match(received)
    return line is not None and _ends_with_head(received, line)


def read_head(received: bytes) -> dict[str, Any] | None:
    """Return what ASGI's scope says of a request that stands alone; None where that is for a whole server to read.

    httptools reads the lines, as it does for uvicorn: one request must not mean two things to two readers.
    """
    line = REQUEST_LINE.match(received)
    if line is None or len(received) > current().HEADER_BYTES or not _ends_with_head(received, line):
        return None
    fields = _Fields()
    try:
        httptools.HttpRequestParser(fields).feed_data(received)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    path, _, query = line[1].partition(b"?")
    text = path.decode("ascii")
    return {
        "type": "http",
        "method": "GET",
        "http_version": line[2].decode("ascii"),
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "headers": fields.headers,
    }


class _Fields:
    """What a parser finds."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _ends_with_head(received: bytes, line: re.Match[bytes]) -> bool:
    return received.find(END, line.end() - 2) == len(received) - len(END)
