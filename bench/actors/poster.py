"""Posts one event to a peer for each line on stdin; the body carries the monotonic clock just before.

Prints nothing; a status that is no success ends it.
"""

import argparse
import sys
import time
from http.client import HTTPConnection
from typing import Final

from bench.actors.publisher import PAD_CHARACTERS, say_ready

HEADERS: Final = {"Content-Type": "application/octet-stream"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body", help="STAMP in it becomes the payload")
    options = parser.parse_args()
    say_ready()
    for _ in sys.stdin:
        payload = f"t={time.monotonic_ns()} {'x' * PAD_CHARACTERS}"
        connection = HTTPConnection("127.0.0.1", options.port, timeout=60)
        connection.request("POST", options.path, options.body.replace("STAMP", payload), HEADERS)
        status = connection.getresponse().status
        connection.close()
        if status >= 300:
            sys.exit(f"status {status}")


if __name__ == "__main__":
    main()
