"""`serve --workers` with real processes: one port, no waiting for each other, one end."""

import os
import re
import signal
import socket
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import ExitStack

import psutil
import pytest
from django.core.management import CommandError

from taskbell.management.serving.lifeline import Post
from taskbell.management.serving.listening import listen, reserve
from taskbell.management.verbs.serve import number_of_workers
from tests.gateway.real import QUICK, is_, say
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project
from tests.servers.sse import Stream

STREAMS = 40


class Workers:
    """A gateway of several workers, and streams of which it is known who holds them."""

    def __init__(self, one: Project, count: int, *words: str, **options: bool) -> None:
        one.configure(**QUICK | {"PING": 5})
        port = free_port()
        command = ["-m", "django", "taskbell", "serve", "--port", str(port), "--workers", str(count), *words]
        self.gateway = Gateway(
            [sys.executable, *command], port=port, env=one.env, cwd=one.folder, log=one._log(), **options
        )
        one.processes.append(self.gateway)
        self.gateway.wait_until(lambda: len(self.listening()) == count, what="serving by all workers")

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.gateway.pid).children()

    def listening(self) -> list[psutil.Process]:
        return [one for one in self.processes() if connections(one, psutil.CONN_LISTEN)]

    def open(self, stack: ExitStack) -> dict[int, list[Stream]]:
        """Open streams and return them by the process that holds each."""
        streams = [stack.enter_context(self.gateway.stream("/events/public:news/")) for _ in range(STREAMS)]
        for stream in streams:
            stream.until("ping")
        near = {stream.socket.getsockname()[1]: stream for stream in streams}
        return {
            worker.pid: [near[end] for end in connections(worker, psutil.CONN_ESTABLISHED) if end in near]
            for worker in self.processes()
        }


def connections(process: psutil.Process, status: str) -> list[int]:
    """Return the far ports of a process's TCP connections of this status, 0 for a listening socket."""
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return []
    return [one.raddr.port if one.raddr else 0 for one in found if one.status == status]


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def workers(project: Callable[[str], Project]) -> Callable[..., Workers]:
    return lambda database="sqlite", count=2, *words, **options: Workers(project(database), count, *words, **options)


@pytest.mark.proof
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [False, True], ids=["to the parent", "to the group"])
def test_all_drain_and_the_end_is_a_success(
    workers: Callable[..., Workers], number: signal.Signals, to_group: bool
) -> None:
    all = workers(count=3, start_new_session=True)
    with ExitStack() as stack:
        streams = all.open(stack)
        assert sum(map(len, streams.values())) == STREAMS
        assert all_have_some(streams), "the kernel spreads them"
        pids = [*streams]
        if to_group:
            os.killpg(all.gateway.pid, number)
        else:
            all.gateway.send_signal(number)
        for stream in (stream for held in streams.values() for stream in held):
            assert stream.rest()[-1].json == {"reason": "drain"}
        assert all.gateway.wait(10) == 0
    assert [pid for pid in pids if not gone(pid)] == []
    assert re.fullmatch(r"Taskbell serves .*\nProcess \d+ with 3 workers, .*\n", all.gateway.output())


def all_have_some(streams: dict[int, list[Stream]]) -> bool:
    return all(streams.values())


@pytest.mark.proof
def test_every_worker_told_beside_the_parent(workers: Callable[..., Workers]) -> None:
    """As systemd does it, to all processes of a service at once."""
    all = workers()
    with ExitStack() as stack:
        streams = all.open(stack)
        for pid in [all.gateway.pid, *streams]:
            os.kill(pid, signal.SIGTERM)
        for stream in (stream for held in streams.values() for stream in held):
            assert stream.rest()[-1].json == {"reason": "drain"}
        assert all.gateway.wait(10) == 0


@pytest.mark.proof
def test_a_second_ctrl_c_does_not_wait_for_the_notice(workers: Callable[..., Workers]) -> None:
    all = workers("sqlite", 2, "--notice", "600")
    with ExitStack() as stack:
        streams = all.open(stack)
        all.gateway.send_signal(signal.SIGINT)
        # Each of these goes to either worker.
        all.gateway.wait_until(lambda: {all.gateway.status("/readyz") for _ in range(12)} == {503}, what="not ready")
        all.gateway.send_signal(signal.SIGINT)
        for stream in (stream for held in streams.values() for stream in held):
            assert stream.rest()[-1].json == {"reason": "drain"}
        assert all.gateway.wait(10) == 0


@pytest.mark.proof
def test_a_worker_that_dies_takes_only_its_own_streams_and_is_started_again(workers: Callable[..., Workers]) -> None:
    all = workers()
    with ExitStack() as stack:
        streams = all.open(stack)
        victim, other = streams
        os.kill(victim, signal.SIGKILL)
        for stream in streams[victim]:
            assert "bye" not in {event.type for event in stream.rest()}
        say("still here")
        for stream in streams[other]:
            stream.until(is_("still here"))
        all.gateway.wait_until(lambda: len(all.listening()) == 2, what="two again")
        assert {one.pid for one in all.processes()} > {other}
    assert all.gateway.stop() == 0
    assert len(re.findall(r"^Worker \d ended with status -9; it is started again in 0.5 s.$",
                          all.gateway.output(), re.MULTILINE)) == 1  # fmt: skip


@pytest.mark.proof
def test_a_parent_that_is_killed_leaves_nobody_behind(workers: Callable[..., Workers]) -> None:
    all = workers()
    with ExitStack() as stack:
        streams = all.open(stack)
        all.gateway.kill()
        all.gateway.wait()
        for stream in (stream for held in streams.values() for stream in held):
            assert stream.rest()[-1].json == {"reason": "drain"}
    for pid in streams:
        psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=10)
        assert gone(pid)


@pytest.mark.proof
def test_a_frozen_worker_keeps_no_other_waiting(workers: Callable[..., Workers]) -> None:
    """Whichever of them ticks: the others take over from it."""
    all = workers("postgres", 3)
    with ExitStack() as stack:
        streams = all.open(stack)
        for frozen in streams:
            os.kill(frozen, signal.SIGSTOP)
            say(f"without {frozen}")
            for stream in (stream for pid, held in streams.items() if pid != frozen for stream in held):
                stream.until(is_(f"without {frozen}"))
            os.kill(frozen, signal.SIGCONT)
            for stream in streams[frozen]:
                stream.until(is_(f"without {frozen}"))
    assert all.gateway.stop() == 0


@pytest.mark.slow
def test_a_worker_that_stays_frozen_is_replaced(workers: Callable[..., Workers]) -> None:
    """New connections still come to it, so somebody else must serve them."""
    all = workers()
    victim, other = (one.pid for one in all.processes())
    os.kill(victim, signal.SIGSTOP)
    all.gateway.wait_until(lambda: gone(victim) and len(all.listening()) == 2, what="replaced", timeout=60)
    assert other in {one.pid for one in all.processes()}
    assert f"(process {victim}) has stood still for 30 s and is killed." in all.gateway.output()
    assert all.gateway.stop() == 0


def test_a_port_where_somebody_else_listens_is_not_shared() -> None:
    with listen("127.0.0.1", 0, shared=True) as theirs:
        port = theirs.getsockname()[1]
        with pytest.raises(CommandError, match=f"Cannot listen on 127.0.0.1 port {port}: Address already in use"):
            reserve("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::"])
def test_what_is_reserved_can_be_shared_and_takes_nobody_itself(host: str) -> None:
    if ":" in host and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    with reserve(host, 0) as keeper:
        port = keeper.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host if host != "::" else "::1", port), timeout=5).close()
        with listen(host, port, shared=True), listen(host, port, shared=True):
            socket.create_connection((host if host != "::" else "127.0.0.1", port), timeout=5).close()


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "", "٣"])
def test_workers_are_a_number(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="Write 1 or more"):
        number_of_workers(text)


def test_elsewhere_than_on_linux_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert number_of_workers("1") == 1
    with pytest.raises(ArgumentTypeError, match=r"Only Linux.*ports of their own"):
        number_of_workers("2")


def test_a_worker_finds_its_post_once(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(number=2, fd=7, port=8001)
    for name, value in post.environment().items():
        monkeypatch.setenv(name, value)
    assert Post.inherited() == post
    assert Post.inherited() is None, "what a worker starts is no worker"
