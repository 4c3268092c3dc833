"""Connections over time: what comes on an open stream, old clients, and those that only come and go."""

import socket
import time

import psutil
import pytest

from tests.gateway.real import QUICK, Make, say
from tests.servers.project import Gateway
from tests.servers.sse import Parser

pytestmark = pytest.mark.proof

PATH = "/events/public:news/"
ASK = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


@pytest.fixture
def gateway(project: Make) -> Gateway:
    one = project("sqlite")
    one.configure(**QUICK)
    return one.serve()


class Connection:
    def __init__(self, gateway: Gateway) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def until(self, part: bytes, timeout: float = 5) -> bytes:
        """Read up to a part of the answer; an EOFError says that the connection ended before."""
        data = b""
        self.socket.settimeout(timeout)
        while part not in data:
            more = self.socket.recv(4096)
            if not more:
                raise EOFError(data)
            data += more
        return data

    def all(self, timeout: float = 5) -> bytes:
        """Read to the end of the connection, which the other side must bring about in time."""
        data, deadline = b"", time.monotonic() + timeout
        while True:
            self.socket.settimeout(deadline - time.monotonic())
            try:
                more = self.socket.recv(65_536)
            except ConnectionResetError:
                return data
            except TimeoutError:
                raise AssertionError(f"still open, after {data[:300]!r}") from None
            if not more:
                return data
            data += more

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def test_a_second_request_on_an_open_stream_cuts_it(gateway: Gateway) -> None:
    for more in (ASK, b"G", b"\r\n", b"\0"):
        with Connection(gateway) as connection:
            connection.send(ASK)
            opening = connection.until(b"event: ping\ndata: {}\n\n")
            assert status(opening) == 200
            connection.send(more)
            assert b"HTTP/1.1" not in connection.all(timeout=3), more


def test_one_zero_clients_get_a_stream_that_ends_with_the_connection(gateway: Gateway) -> None:
    with Connection(gateway) as connection:
        connection.send(f"GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head, _, body = connection.until(b"data: {}\n\n").partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        say("for old ones")
        body += connection.until(b"old ones")
        assert Parser().feed(body + b"\n\n")[-1].json == "for old ones"


def test_churn_leaves_nothing_behind(gateway: Gateway) -> None:
    process = psutil.Process(gateway.pid)
    with Connection(gateway) as connection:
        connection.send(ASK)
        connection.until(b"data: {}\n\n")
        before = process.num_fds(), process.num_threads()
        for number in range(300):
            with Connection(gateway) as other:
                other.send(ASK[: number % (len(ASK) + 1)])
                if number % 3 == 0:
                    other.send(ASK[number % (len(ASK) + 1) :])
                    other.until(b"\r\n\r\n")
        gateway.wait_until(lambda: process.num_fds() <= before[0], what="back to its files", timeout=5)
        assert process.num_threads() <= before[1] + 4, "the pool's threads at most"
        say("still here")
        assert b"still here" in connection.until(b"still here")
