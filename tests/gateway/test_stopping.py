"""SIGTERM with open streams: a word to each, gone in time, and the exit status that a supervisor expects."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from tests.gateway.real import KINDS, QUICK, Make, Start, published, say
from tests.servers.process import Process, free_port
from tests.servers.project import Gateway, Project
from tests.servers.sse import Cut, Event, Stream

pytestmark = pytest.mark.proof

STREAMS = 60


def uvicorn_detached(one: Project, *options: str) -> Gateway:
    return one.uvicorn("--http", "taskbell.gateway.server:StreamProtocol", *options)


WAYS = pytest.mark.parametrize(
    ("start", "status"),
    [(Project.serve, 0), (uvicorn_detached, -signal.SIGTERM), (Project.uvicorn, -signal.SIGTERM)],
    ids=["serve", "uvicorn, detached", "uvicorn, plain"],
)


def open_streams(gateway: Gateway, count: int, stack: ExitStack) -> list[Stream]:
    streams = [stack.enter_context(gateway.stream("/events/public:news/")) for _ in range(count)]
    for stream in streams:
        assert stream.read().type == "ping"
    return streams


def rest_of(streams: list[Stream]) -> list[tuple[list[Event], float]]:
    """Return for each stream its last events and when it ended, however many end at once."""
    began = time.monotonic()
    found: list[Any] = [None] * len(streams)

    def read(number: int) -> None:
        events = streams[number].rest(timeout=20)
        found[number] = (events, time.monotonic() - began)

    threads = [threading.Thread(target=read, args=[number]) for number in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert None not in found
    return found


@WAYS
def test_every_stream_is_told_and_the_process_ends(project: Make, start: Callable[..., Gateway], status: int) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 20, "DRAIN": 3})
    gateway = start(one)
    with ExitStack() as stack:
        streams = open_streams(gateway, STREAMS, stack)
        gateway.terminate()
        ends = rest_of(streams)
        assert gateway.wait(5) == status
    for events, _ in ends:
        assert [(event.type, event.json) for event in events] == [("bye", {"reason": "drain"})]
        assert events[0].id == streams[0].last_event_id, "they come back to where they were"
    retries = [stream.retry for stream in streams]
    assert all(retry is not None and 500 <= retry <= 3000 for retry in retries)
    assert len(set(retries)) > STREAMS / 2, "each at a moment of its own"
    seconds = sorted(end for _, end in ends)
    assert 0.5 < seconds[-1] - seconds[0] < 3, "not all at once, and within DRAIN"


@WAYS
def test_a_shell_sees_what_a_supervisor_does(project: Make, start: Callable[..., Gateway], status: int) -> None:
    """Python says -15 where a shell says 143."""
    one = project("sqlite")
    one.configure(**QUICK)
    port = free_port()
    options = {
        Project.serve: ["django", "taskbell", "serve"],
        Project.uvicorn: ["uvicorn", "tests.asgi:application"],
        uvicorn_detached: ["uvicorn", "tests.asgi:application", "--http", "taskbell.gateway.server:StreamProtocol"],
    }
    command = [sys.executable, "-m", *options[start], "--port", str(port)]
    script = '"$@" & child=$!; echo $child > child; wait $child; echo $? > status'
    log = one.folder / "shell.log"
    shell = Process(["sh", "-c", script, "sh", *command], env=one.env, cwd=one.folder, log=log)
    one.processes.append(shell)
    shell.wait_until(lambda: answers(port), what="answering")
    child = int((one.folder / "child").read_text())
    try:
        with Stream(port, "/events/public:news/") as stream:
            stream.until("ping")
            os.kill(child, signal.SIGTERM)
            assert stream.rest()[-1].json == {"reason": "drain"}
        assert shell.wait(10) == 0
    finally:
        if shell.alive:
            os.kill(child, signal.SIGKILL)
    assert (one.folder / "status").read_text() == f"{143 if status else 0}\n"


def answers(port: int) -> bool:
    try:
        with Stream(port, "/livez", timeout=2):
            return True
    except (OSError, Cut):
        return False


def test_ctrl_c_in_development_is_quick(project: Make) -> None:
    one = project("sqlite")
    gateway = one.serve()
    with ExitStack() as stack:
        (stream,) = open_streams(gateway, 1, stack)
        began = time.monotonic()
        gateway.send_signal(signal.SIGINT)
        assert stream.rest()[-1].json == {"reason": "drain"}
        gateway.wait(5)
    assert time.monotonic() - began < 3, "DRAIN is for many streams"


@KINDS
def test_while_it_stops_nobody_is_let_in_and_events_still_arrive(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"DRAIN": 3})
    gateway = start(one)
    with ExitStack() as stack:
        streams = open_streams(gateway, STREAMS, stack)
        # A connection that was accepted before the end began, so that its request still comes through.
        waiting = socket_to(gateway)
        gateway.terminate()
        first = next(event for stream in streams for event in events_at_once(stream) if event.type == "bye")
        assert first.json == {"reason": "drain"}
        say("late")
        answer = ask(waiting)
        assert answer.startswith(b"HTTP/1.1 503 ") or answer == b"", answer
        ends = rest_of([stream for stream in streams if stream.retry == 2000])
    assert any(published(events) == ["late"] for events, _ in ends), "whoever is still there is served"
    gateway.wait(5)


def socket_to(gateway: Gateway) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=5)


def ask(connection: socket.socket) -> bytes:
    with connection:
        try:
            connection.sendall(b"GET /events/public:news/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(4096)
        except ConnectionError:
            return b""


def events_at_once(stream: Stream) -> list[Event]:
    try:
        return [stream.read(timeout=0.05)]
    except TimeoutError:
        return []


@pytest.mark.parametrize("options", [None, ["--timeout-graceful-shutdown", "2"]], ids=["detached", "plain"])
def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(project: Make, options: list[str] | None) -> None:
    """An ASGI application cannot cut a connection: without detach, uvicorn has to be told how long it waits for one."""
    one = project("sqlite")
    one.configure(**QUICK | {"STALLED": 60})
    gateway = one.serve() if options is None else one.uvicorn(*options)
    with gateway.stream("/events/public:news/", receive_buffer=4096) as stream:
        stream.read()
        # Nine megabytes: more than any kernel takes for one reader.
        say(*["x" * 60_000] * 150)
        time.sleep(1)  # nothing is read meanwhile: that is the test
        began = time.monotonic()
        gateway.terminate()
        gateway.wait(10)
        assert time.monotonic() - began < 5


@KINDS
def test_a_second_gateway_takes_over_without_losing_anyone(project: Make, start: Start) -> None:
    """A rolling restart: streams end, come back to the next process with their place, and miss nothing."""
    one = project("sqlite")
    one.configure(**QUICK)
    old, new = start(one), start(one)
    with ExitStack() as stack:
        streams = open_streams(old, 10, stack)
        read: list[list[Event]] = [[] for _ in streams]

        def follow(number: int) -> None:
            stream = streams[number]
            read[number] += stream.rest(timeout=20)
            with new.stream("/events/public:news/", last_event_id=stream.last_event_id) as again:
                read[number] += again.until(lambda event: event.json == "last", timeout=20)

        threads = [threading.Thread(target=follow, args=[number]) for number in range(len(streams))]
        for thread in threads:
            thread.start()
        old_ends = threading.Timer(0.5, old.terminate)
        old_ends.start()
        said: list[int] = []
        while old.alive:
            said.append(len(said))
            say(said[-1])
            time.sleep(0.01)
        say("last")
        for thread in threads:
            thread.join()
        old_ends.join()
    for events in read:
        assert published(events) == [*said, "last"]
        assert "reset" not in {event.type for event in events}


def test_ready_and_alive(project: Make) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    gateway = one.serve()
    assert (gateway.status("/livez"), gateway.status("/readyz"), gateway.status("/other")) == (200, 200, 404)
    gateway.stop()
    assert gateway.status("/readyz") == 0


def test_a_port_that_is_taken_is_said_in_plain_words(project: Make) -> None:
    one = project("sqlite")
    gateway = one.serve()
    second: subprocess.CompletedProcess[str] = one.run("taskbell", "serve", "--port", str(gateway.port))
    assert second.returncode != 0
    assert f"port {gateway.port}" in second.stderr
    assert "Traceback" not in second.stderr
