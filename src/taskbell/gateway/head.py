"""The request head as bytes: what they alone can show, once a parser has made names and values of them."""

import re
from typing import Final

# The path is this server's own: an absolute form would name a second host, and a fragment is no part of a request.
# One empty line may come before, as RFC 9112 has it (2.2). RTSP and HTTP/2 in the clear look alike to some parsers.
REQUEST_LINE: Final = re.compile(rb'(?:\r\n)?GET /[!"$-~]* HTTP/1\.[01]\r\n')
END: Final = b"\r\n\r\n"


def stands_alone(received: bytes) -> bool:
    """Tell whether the bytes received so far are the head of one GET, with nothing after it.

    What comes after would be a second request, or a body: a parser may drop it, and a proxy before us may not.
    """
    line = REQUEST_LINE.match(received)
    return line is not None and received.find(END, line.end() - 2) == len(received) - len(END)
