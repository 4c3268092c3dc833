"""More connections than a process may open files for."""

import re
import resource
import socket
from contextlib import ExitStack

import psutil
import pytest
from django.test import override_settings

from taskbell.gateway import files
from tests.gateway.real import QUICK, Make, is_, say
from tests.gateway.requests.reply import Reply, parse
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project

FILES = 256
#: As many streams, by the quarter that is left for everything else.
STREAMS = 192
CLIENTS = 400
ASK = b"GET /events/public:news/ HTTP/1.1\r\nHost: x\r\n\r\n"
SERVE = ["django", "taskbell", "serve"]
# The same by uvicorn's own command, on an event loop that tells each refusal of the kernel.
ASYNCIO = ["uvicorn", "tests.asgi:application", "--loop", "asyncio", "--log-level", "warning"]
# The kernel's word once, and what a few background loops say of a database that they could not open. Untamed it is
# 20,000 a second.
MOST_LINES = 300
DETACHED = ["--http", "taskbell.gateway.server:StreamProtocol"]


@pytest.mark.parametrize(
    ("soft", "streams", "waiting"),
    [
        (256, 192, 32),
        (1024, 768, 128),
        (4096, 3596, 512),
        (20_500, 20_000, 2562),
        (resource.RLIM_INFINITY, 20_000, 4096),
    ],
)
def test_what_a_limit_leaves_room_for(soft: int, streams: int, waiting: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert (files.most_streams(), files.most_waiting()) == (streams, waiting)
    with override_settings(TASKBELL={"STREAMS_PER_PROCESS": 10}):
        assert files.most_streams() == 10


def test_a_high_descriptor_is_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 256))
    assert [files.is_crowded(number) for number in (3, 223, 224, 255)] == [False, False, True, True]


def start(one: Project, command: list[str]) -> Gateway:
    one.configure(**QUICK | {"PING": 20}, STREAMS_PER_ADDRESS=CLIENTS)
    port = free_port()
    gateway = one._gateway(port, "-m", "tests.gateway.few_files", str(FILES), *command, "--port", str(port))
    gateway.wait_until(lambda: gateway.status("/events/public:news/") == 200, what="serving")
    return gateway


class Crowd:
    """Clients, and what each of them was told."""

    def __init__(self, gateway: Gateway, stack: ExitStack) -> None:
        self.gateway = gateway
        self.sockets: list[socket.socket] = []
        self._stack = stack

    def ask(self) -> None:
        """Open one more connection and ask for a stream."""
        opened = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.gateway.port), timeout=10))
        self.sockets.append(opened)
        try:
            opened.sendall(ASK)
        except ConnectionError:
            pass  # refused before it has asked

    def knock(self, count: int) -> None:
        """Begin that many connections more, and neither wait for them nor ask for anything."""
        for _ in range(count):
            opened = self._stack.enter_context(socket.socket())
            opened.setblocking(False)
            opened.connect_ex(("127.0.0.1", self.gateway.port))

    def replies(self) -> list[Reply]:
        """Return what each was told; one that was closed without a word has status 0."""
        return [_first(opened) for opened in self.sockets]


def _first(opened: socket.socket) -> Reply:
    try:
        return parse(opened.recv(4096)) or Reply()
    except ConnectionError:
        return Reply()


@pytest.mark.proof
def test_a_crowd_is_refused_in_words(project: Make) -> None:
    one = project("sqlite")
    gateway = start(one, SERVE)
    assert re.search(rf"may open {FILES} files, so it takes {STREAMS} streams", gateway.output())
    lines = gateway.output().count("\n")
    with ExitStack() as stack, gateway.stream("/events/public:news/") as first:
        first.until("ping")
        crowd = Crowd(gateway, stack)
        for _ in range(CLIENTS):
            crowd.ask()
        replies = crowd.replies()
        assert [reply.status for reply in replies] == [200] * (STREAMS - 1) + [503] * (CLIENTS - STREAMS + 1)
        assert all(reply.headers["retry-after"].isdigit() for reply in replies[STREAMS - 1 :])
        say("for those inside")
        first.until(is_("for those inside"))
    assert gateway.output().count("\n") == lines
    gateway.wait_until(lambda: gateway.status("/events/public:news/") == 200, what="open again")


@pytest.mark.proof
@pytest.mark.parametrize("command", [SERVE, ASYNCIO, ASYNCIO + DETACHED], ids=["serve", "plain", "detached"])
def test_a_rush_beyond_the_last_file_is_survived(project: Make, command: list[str]) -> None:
    one = project("sqlite")
    gateway = start(one, command)
    process = psutil.Process(gateway.pid)
    with ExitStack() as stack, gateway.stream("/events/public:news/") as first:
        first.until("ping")
        began = sum(process.cpu_times()[:2])
        lines = gateway.output().count("\n")
        crowd = Crowd(gateway, stack)
        gateway.pause()
        crowd.knock(CLIENTS)
        gateway.resume()
        for number in range(3):
            say(number)
            first.until(is_(number))
            first.silence(1)
        assert sum(process.cpu_times()[:2]) - began < 3, "it does not spin"
        told = gateway.output().count("\n") - lines
        assert told == 0 if command == SERVE else told < MOST_LINES, gateway.output()
    gateway.wait_until(lambda: gateway.status("/events/public:news/") == 200, what="open again", timeout=30)
    assert gateway.alive
