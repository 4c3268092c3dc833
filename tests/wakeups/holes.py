"""Addresses that swallow what is sent to them, as a firewall or a frozen server does."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# More than the queue of a socket with a backlog of 0 takes on any kernel met so far.
FILLING = 4


@contextmanager
def mute() -> Iterator[int]:
    """A port where connections are accepted and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield server.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """A port where connecting itself hangs, because the queue of connections is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(FILLING):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        yield server.getsockname()[1]


HOLES = {"mute": mute, "full": full}
