"""A stop that something holds up: a request that waits, and a database that froze."""

import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from taskbell.ground.cursor import Cursor
from taskbell.store.head import create_head
from taskbell.store.log import place_of_head
from tests.gateway.real import QUICK, Make
from tests.servers.postgres import Postgres
from tests.servers.project import Gateway

pytestmark = pytest.mark.proof


def ask(gateway: Gateway, path: str, *, cookie: str = "") -> socket.socket:
    """Send a request that will wait, and return once it has taken the last place of its address."""
    asked = socket.create_connection(("127.0.0.1", gateway.port), timeout=10)
    asked.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n".encode())
    gateway.wait_until(lambda: gateway.status("/events/public:other/") == 503, what="full")
    assert not select.select([asked], [], [], 0)[0], "it waits"
    return asked


def test_who_waits_for_a_number_is_not_let_in_after_the_stop(project: Make) -> None:
    """Else a plain stream joins a hub that has said `bye` to all, and the server waits for it for ever."""
    one = project("sqlite")
    one.configure(**QUICK, STREAMS_PER_ADDRESS=1)
    create_head("default")
    place = place_of_head("default")
    assert place
    gateway = one.uvicorn()
    # As a browser that comes from a gateway which was faster.
    with ask(gateway, f"/events/public:news/?after={Cursor(place.log_id, 5, 'x')}") as asked:
        gateway.terminate()
        assert asked.recv(12) in (b"HTTP/1.1 503", b"")
    assert gateway.wait(10) == -signal.SIGTERM


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    """Stop the server and all its sessions for a while: they hold their sockets and answer nothing."""
    assert server.process is not None
    parent = psutil.Process(server.process.pid)
    # The parent first, so that no session begins after the count.
    parent.suspend()
    sessions = parent.children()
    for session in sessions:
        session.suspend()
    try:
        yield
    finally:
        for process in [*sessions, parent]:
            process.resume()


def test_a_frozen_database_does_not_hold_a_process_that_was_told_to_end(project: Make, postgres: Postgres) -> None:
    one = project("postgres")
    one.configure(**QUICK, STREAMS_PER_ADDRESS=2)
    cookie = one.sign_in(one.person("yamkant"))
    gateway = one.serve()
    with gateway.stream(cookie=cookie) as stream:
        stream.until("ping")
        with frozen(postgres):
            with ask(gateway, "/events/", cookie=cookie):
                gateway.terminate()
                assert stream.rest()[-1].json == {"reason": "drain"}
                # DRAIN is 1; a request that hangs gets three seconds more.
                assert gateway.wait(15) == 0
