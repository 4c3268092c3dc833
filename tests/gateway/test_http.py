"""Requests as bytes: what is not exactly one GET is answered with an error, and the connection closed."""

import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from tests.gateway.real import QUICK, Make, say
from tests.servers.project import Gateway
from tests.servers.sse import Parser

pytestmark = pytest.mark.proof

PATH = "/events/public:news/"
HEAD = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode()
ASK = HEAD + b"\r\n"


@pytest.fixture
def gateway(project: Make) -> Gateway:
    one = project("sqlite")
    one.configure(**QUICK, HEADER_TIME=1, HEADER_BYTES=2000)
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


def answers(gateway: Gateway, *requests: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    for request in requests:
        with Connection(gateway) as connection:
            connection.send(request)
            try:
                answer = connection.all()
            except AssertionError as error:
                raise AssertionError(f"{request[:300]!r}: {error}") from None
            yield request, status(answer), answer


def test_a_request_with_anything_to_read_after_it_is_refused_and_closed(gateway: Gateway) -> None:
    for request, found, answer in answers(
        gateway,
        HEAD + b"Content-Length: 5\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        HEAD
        + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        HEAD
        + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n",
        HEAD + b"Expect: 100-continue\r\n\r\n",
        HEAD + b"Expect: garbage\r\n\r\n",
    ):
        assert found == 400, request
        assert b"text/event-stream" not in answer


def test_what_no_parser_should_take_never_becomes_a_stream(gateway: Gateway) -> None:
    for request, found, answer in answers(
        gateway,
        HEAD + b"Content-Length: +5\r\n\r\nhello",
        HEAD + b"Content-Length: 5_0\r\n\r\nhello",
        HEAD + b"Content-Length: 0x5\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5, 6\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: " + b"9" * 20 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n",
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"X: a\0b\r\n\r\n",
        HEAD + b" obsolete: folding\r\n\r\n",
        f"GET {PATH} HTTP/9.9\r\nHost: x\r\n\r\n".encode(),
        f"GET {PATH}\r\n\r\n".encode(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 100 + b"\r\n\r\n",
        f"GET {PATH} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".encode(),
    ):
        assert found in {0, 400, 408, 501, 505}, (request, answer[:80])
        assert b"text/event-stream" not in answer, request


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
def test_other_methods(gateway: Gateway, method: str) -> None:
    ((_, found, answer),) = answers(gateway, f"{method} {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert found == 405
    assert b"allow: GET" in answer.lower().replace(b"get", b"GET")


def test_two_requests_at_once_are_one_too_many(gateway: Gateway) -> None:
    for request, found, answer in answers(gateway, ASK + ASK, ASK + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ASK + b"G"):
        assert found == 400, request
        assert b"text/event-stream" not in answer


def test_a_second_request_on_an_open_stream_cuts_it(gateway: Gateway) -> None:
    for more in (ASK, b"G", b"\r\n", b"\0"):
        with Connection(gateway) as connection:
            connection.send(ASK)
            opening = connection.until(b"event: ping\ndata: {}\n\n")
            assert status(opening) == 200
            connection.send(more)
            assert b"HTTP/1.1" not in connection.all(timeout=3), more


def test_a_head_over_the_limit_is_refused(gateway: Gateway) -> None:
    for request in [
        HEAD + b"X: " + b"y" * 3000 + b"\r\n\r\n",
        HEAD + b"X: " + b"y" * 3000,
        HEAD + b"".join(b"X%d: y\r\n" % n for n in range(600)) + b"\r\n",
        b"GET " + PATH.encode() + b"?a=" + b"b" * 3000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET " + b"/" * 70_000,
    ]:
        ((_, found, _),) = answers(gateway, request)
        assert found == 431, request[:80]


def test_a_slow_head_runs_out_of_time(gateway: Gateway) -> None:
    for begin in (b"", b"G", HEAD):
        with Connection(gateway) as connection:
            connection.send(begin)
            began = time.monotonic()
            answer = connection.all()
            assert status(answer) == 408, begin
            assert 0.5 < time.monotonic() - began < 3


def test_a_byte_at_a_time_is_no_way_around_the_clock(gateway: Gateway) -> None:
    with Connection(gateway) as connection:
        connection.socket.settimeout(0.05)
        deadline, answer = time.monotonic() + 3, b""
        for byte in HEAD:
            connection.send(bytes([byte]))
            with suppress(TimeoutError):
                answer = connection.socket.recv(4096)
                break
        assert status(answer) == 408
        assert time.monotonic() < deadline


def test_a_request_in_pieces_is_one_request(gateway: Gateway) -> None:
    with Connection(gateway) as connection:
        for at in range(0, len(ASK), 7):
            connection.send(ASK[at : at + 7])
            time.sleep(0.005)
        assert status(connection.until(b"event: ping\ndata: {}\n\n")) == 200


def test_one_zero_clients_get_a_stream_that_ends_with_the_connection(gateway: Gateway) -> None:
    with Connection(gateway) as connection:
        connection.send(f"GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head, _, body = connection.until(b"data: {}\n\n").partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower()
        say("for old ones")
        body += connection.until(b"old ones")
        assert Parser().feed(body + b"\n\n")[-1].json == "for old ones"


def test_requests_after_one_another_on_a_kept_connection(gateway: Gateway) -> None:
    """Health checks keep their connection; a stream may come after them."""
    with Connection(gateway) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.until(b"alive")
        connection.socket.settimeout(1)
        try:
            connection.send(ASK)
            answer = connection.until(b"\r\n\r\n")
            assert status(answer) in {200, 400}
        except (ConnectionError, EOFError):
            pass  # "connection: close" is an answer too


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
