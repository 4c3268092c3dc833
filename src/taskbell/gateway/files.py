"""Open files: each stream is one. The last ones are for the database, and for telling browsers to come back later."""

import asyncio
import errno
import resource
import sys
from typing import Any, Final

from taskbell import faults
from taskbell.conf import current

#: What a process opens beside streams: the database, the log, connections whose request is still read.
BESIDE_STREAMS: Final = 500
# Of few files that much less. Half of it is for connections to be read or refused, half for everything else.
PART_BESIDE_STREAMS: Final = 4
# As many connections may wait to be accepted, and then come all in one turn of the event loop.
PART_WAITING: Final = 8
# The kernel's own limit (net.core.somaxconn) is usually 4096: a storm of returning browsers waits there.
MOST_WAITING: Final = 4096


def most_files() -> int:
    """Return how many files this process may open now."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def most_streams() -> int:
    """Return STREAMS_PER_PROCESS, or as many as the files of this process leave room for."""
    files = most_files()
    return min(current().STREAMS_PER_PROCESS, files - _beside_streams(files))


def most_waiting() -> int:
    """Return how many connections may wait to be accepted."""
    return min(MOST_WAITING, most_files() // PART_WAITING)


def is_crowded(descriptor: int) -> bool:
    """Tell by the number of a connection just accepted whether files run out: it is the lowest that was free."""
    files = most_files()
    return descriptor >= files - _beside_streams(files) // 2


def tell_of_crowd(loop: asyncio.AbstractEventLoop) -> None:
    """Tell once a minute that no connection can be accepted; asyncio tells it thousands of times a second."""
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            faults.error("No connection can be accepted: %s.", error.strerror)
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def _beside_streams(files: int) -> int:
    return min(BESIDE_STREAMS, files // PART_BESIDE_STREAMS)
