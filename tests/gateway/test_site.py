"""What is strict about streams is not about the site's own requests, which come by the same connections."""

import socket
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.gateway.real import QUICK, Make
from tests.servers.process import free_port
from tests.servers.project import Gateway

pytestmark = pytest.mark.proof

UPLOAD = b"x" * 3_000_000
ASK = b"GET /events/public:news/ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def site(project: Make) -> Gateway:
    one = project("sqlite")
    one.configure(**QUICK, HEADER_TIME=1, HEADER_BYTES=2_000)
    port = free_port()
    detached = ["--http", "taskbell.gateway.server:StreamProtocol"]
    site = one._gateway(port, "-m", "uvicorn", "tests.gateway.uploads:application", "--port", str(port), *detached)
    site.wait_until(lambda: site.status("/") == 200, what="answering")
    return site


@pytest.fixture
def connection(site: Gateway) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", site.port), timeout=10)) as opened:
        yield opened


def post(body: bytes, path: bytes = b"/upload") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path, len(body)) + body


def answer(connection: socket.socket, until: bytes) -> bytes:
    data = b""
    while until not in data:
        more = connection.recv(65_536)
        assert more, f"closed after {data!r}"
        data += more
    return data


def test_an_upload_in_one_piece_and_in_chunks_and_then_a_stream(connection: socket.socket) -> None:
    for _ in range(2):
        connection.sendall(post(UPLOAD))
        assert b"200 OK" in answer(connection, b"003000000")
    connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert b"100 Continue" in answer(connection, b"\r\n\r\n")
    for _ in range(3):
        connection.sendall(b"%x\r\n" % len(UPLOAD) + UPLOAD + b"\r\n")
    connection.sendall(b"0\r\n\r\n")
    assert b"200 OK" in answer(connection, b"009000000")
    connection.sendall(ASK)
    assert b"text/event-stream" in answer(connection, b"data: {}\n\n")


def test_an_upload_may_take_longer_than_a_head(connection: socket.socket) -> None:
    request = post(b"x" * 400)
    head, body = request[:-400], request[-400:]
    connection.sendall(head)
    for start in range(0, 400, 50):
        time.sleep(0.3)
        connection.sendall(body[start : start + 50])
    assert b"200 OK" in answer(connection, b"000000400")


def test_requests_behind_one_another_are_all_answered(connection: socket.socket) -> None:
    connection.sendall(post(b"a") + post(b"bb") + post(b"ccc"))
    answers = answer(connection, b"000000003")
    assert [b"000000001" in answers, b"000000002" in answers, answers.count(b"200 OK")] == [True, True, 3]


def test_a_slow_head_behind_an_answer_does_not_write_into_it(connection: socket.socket) -> None:
    connection.sendall(post(b"", b"/slow") + b"GET /")
    data = b""
    while more := connection.recv(65_536):
        data += more
    assert data.endswith(b"\r\n\r\n00000"), "cut, and nothing else"


def test_a_stream_asked_for_behind_a_page_is_refused_after_it(connection: socket.socket) -> None:
    connection.sendall(post(b"a") + ASK)
    answers = answer(connection, b"nothing after it.")
    assert answers.index(b"000000001") < answers.index(b"400 Bad Request")
