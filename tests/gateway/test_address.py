"""For whom a request counts: the peer, what trusted proxies say, and a Unix socket, whose peer has no address."""

import socket
from contextlib import ExitStack
from tempfile import TemporaryDirectory

import pytest
from django.test import override_settings

from taskbell.gateway.address import client_address
from taskbell.gateway.limits import Limits
from taskbell.gateway.request import Rejected
from tests.gateway.real import QUICK, Make
from tests.servers.process import Process
from tests.servers.project import Project
from tests.servers.sse import Cut, Stream


def address(*forwarded: bytes, peer: str | None = None) -> str:
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    return client_address({"client": (peer, 5000) if peer else None, "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", [b"203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
        # To the left anybody may have written anything.
        ("10.0.0.1", [b"198.51.100.7, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", [b"10.0.0.1, 10.9.9.9, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", [b"198.51.100.7", b"203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", [b"garbage, \xff, 203.0.113.9"], "203.0.113.9"),
        # Several proxies
        ("10.0.0.1", [b"203.0.113.9, 10.1.2.3"], "203.0.113.9"),
        ("10.0.0.1", [b"203.0.113.9", b"10.1.2.3"], "203.0.113.9"),
        ("10.0.0.1", [b"10.1.2.3"], "10.1.2.3"),
        ("10.0.0.1", [b",".join([b"10.0.0.1"] * 10_000)], "10.0.0.1"),
        ("10.0.0.1", [b",".join([b"203.0.113.9"] + [b"10.0.0.1"] * 10_000)], "203.0.113.9"),
        # What is no address is counted for the proxy that said it, or many made-up ones would be many addresses.
        ("10.0.0.1", [b"unknown"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.9, _hidden"], "10.0.0.1"),
        ("10.0.0.1", [b" , ,"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.9.1"], "10.0.0.1"),
        ("10.0.0.1", [b"203.0.113.009"], "10.0.0.1"),
        ("10.0.0.1", [b"\xff" * 8_000], "10.0.0.1"),
        ("10.0.0.1", [b"\xd9\xa1.2.3.4"], "10.0.0.1"),
        # Ports
        ("10.0.0.1", [b"203.0.113.9:50123"], "203.0.113.9"),
        ("10.0.0.1", [b"[2001:db8::7]:50123"], "2001:db8::/64"),
        ("10.0.0.1", [b"[2001:db8::7]"], "2001:db8::/64"),
        # One site of IPv6 is one, and one address in two forms too.
        ("2001:db8::7", [], "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::1", [], "2001:db8::/64"),
        ("2001:db8:0:1::7", [], "2001:db8:0:1::/64"),
        ("::1", [b"2001:db8::7"], "2001:db8::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        ("::ffff:10.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
        ("::ffff:192.0.2.1", [b"203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [b"::ffff:203.0.113.9"], "203.0.113.9"),
    ],
)
@override_settings(TASKBELL={"TRUSTED_PROXIES": ["10.0.0.0/8", "::1"]})
def test_behind_proxies(peer: str, forwarded: list[bytes], expected: str) -> None:
    assert address(*forwarded, peer=peer) == expected


def test_nobody_is_believed_by_default() -> None:
    assert address(b"203.0.113.9", peer="192.0.2.1") == "192.0.2.1"


@override_settings(TASKBELL={"TRUSTED_PROXIES": ["10.0.0.0/8"]})
def test_no_other_header_is_believed() -> None:
    others = [(b"forwarded", b"for=203.0.113.9"), (b"x-real-ip", b"203.0.113.9"), (b"x-client-ip", b"203.0.113.9")]
    assert client_address({"client": ("10.0.0.1", 1), "headers": others}) == "10.0.0.1"


def test_a_unix_socket_is_a_proxy_that_is_believed() -> None:
    assert address(b"203.0.113.9") == "203.0.113.9"
    assert address(b"forged, 203.0.113.9") == "203.0.113.9", "what the proxy itself has added"
    assert address() == ""
    assert address(b"203.0.113.9", peer="192.0.2.1") == "192.0.2.1", "a TCP peer is not believed for that"


@override_settings(TASKBELL={"TRUSTED_PROXIES": ["10.0.0.0/8"]})
def test_trusted_proxies_may_stand_before_it() -> None:
    assert address(b"203.0.113.9, 10.0.0.7") == "203.0.113.9"
    assert address(b"203.0.113.9", b"10.0.0.7") == "203.0.113.9"
    assert address(b"10.0.0.8, 10.0.0.7") == "10.0.0.8"


@override_settings(TASKBELL={"STREAMS_PER_ADDRESS": 2, "STREAMS_PER_PROCESS": 5})
def test_those_without_an_address_are_not_limited_as_one() -> None:
    limits = Limits()
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(limits.seat(""))
        with pytest.raises(Rejected):
            stack.enter_context(limits.seat(""))
    assert limits.total == 0


class UnixStream(Stream):
    """A stream over the Unix socket at `host`."""

    def _connect(self, host: str, port: int, receive_buffer: int | None) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(self.timeout)
        try:
            self.socket.connect(host)
        except BaseException:
            self.socket.close()
            raise


def serve(one: Project, path: str, *options: str) -> Process:
    server = one.python("-m", "uvicorn", "tests.asgi:application", "--uds", path, *options)
    server.wait_until(lambda: answers(path), what="answering")
    return server


def answers(path: str) -> bool:
    try:
        with open_stream(path, "/nowhere/"):
            return True
    except (OSError, Cut):
        return False


def open_stream(path: str, url: str = "/events/public:news/", **headers: str) -> Stream:
    return UnixStream(0, url, host=path, headers={"Host": "localhost"} | headers)


@pytest.mark.proof
@pytest.mark.parametrize(
    "options", [["--http", "taskbell.gateway.server:StreamProtocol"], []], ids=["detached", "plain"]
)
def test_streams_over_a_unix_socket(project: Make, options: list[str]) -> None:
    one = project("sqlite")
    one.configure(**QUICK, STREAMS_PER_ADDRESS=2)
    near, far = {"X-Forwarded-For": "203.0.113.1"}, {"X-Forwarded-For": "203.0.113.2"}
    # A folder of its own: the path of a socket has about a hundred characters at most.
    with TemporaryDirectory(prefix="taskbell-") as folder, ExitStack() as stack:
        path = f"{folder}/gateway"
        serve(one, path, *options)

        def status(**headers: str) -> int:
            return stack.enter_context(open_stream(path, **headers)).status

        assert [status() for _ in range(3)] == [200, 200, 200]
        assert [status(**near) for _ in range(3)] == [200, 200, 503]
        assert status(**far) == 200
