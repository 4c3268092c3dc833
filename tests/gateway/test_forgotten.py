"""A person is forgotten while gateways run: none has anything of theirs any more, not even one that was frozen."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client

from taskbell.gateway.hub import SLACK_SECONDS, Hub
from taskbell.gateway.window import Window
from taskbell.models import Forgotten, Log
from tests.gateway.paper import PaperLog, PaperLoop, PaperStream
from tests.gateway.real import DATABASES, QUICK, Make, is_, published, say
from tests.servers.project import Gateway
from tests.servers.sse import Cut, Ended, Stream

MARK = "zanzibar"
#: So far off that nothing but the word of forgetting ends a stream.
NO_CHECKS = QUICK | {"RECHECK": 3600}


class Tab:
    """A person's browser with an open stream at one gateway."""

    def __init__(self, stack: ExitStack, gateway: Gateway, user: User) -> None:
        self.stack = stack
        self.gateway = gateway
        client = Client()
        client.force_login(user)
        self.cookie = f"sessionid={client.cookies['sessionid'].value}"
        self.stream = self.come()
        self.start = self.stream.until("ping")[-1].id

    def come(self, **options: Any) -> Stream:
        stream = self.stack.enter_context(self.gateway.stream(cookie=self.cookie, **options))
        if (given := stream.headers.get("set-cookie")) is not None:
            self.cookie = f"{self.cookie.partition(';')[0]}; {given.partition(';')[0]}"
        return stream


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def rest_of(stream: Stream) -> list[Any]:
    """Return what a stream brings until its end, in whatever way that comes."""
    found: list[Any] = []
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            found.append(stream.read(timeout=20))
    except (Cut, Ended):
        return found
    raise AssertionError(f"it goes on: {found[-3:]}")


def in_tables(text: str) -> list[str]:
    models = apps.get_app_config("taskbell").get_models()
    return [model._meta.db_table for model in models for row in model._default_manager.values() if text in str(row)]


def await_erased(seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not Forgotten.objects.exists() or Forgotten.objects.filter(erased_at=None).exists():
        assert time.monotonic() < deadline, "not erased in time"
        time.sleep(0.05)


@pytest.mark.proof
@DATABASES
def test_two_gateways_one_of_them_frozen(project: Make, database: str, stack: ExitStack) -> None:
    one = project(database)
    one.configure(**NO_CHECKS)
    awake, frozen = one.serve(), one.serve()
    ada = one.person("ada")
    here, there = Tab(stack, awake, ada), Tab(stack, frozen, ada)
    say(MARK, "another", to=ada)
    for tab in (here, there):
        assert published(tab.stream.until(is_("another"))) == [MARK, "another"]
    cookies = {tab: tab.cookie for tab in (here, there)}
    # Connections that wait at the frozen one, to be served from memory the moment that it wakes.
    frozen.pause()
    key = ada.pk
    ada.delete()
    assert [event.json for event in rest_of(here.stream) if event.type == "bye"] == [{"reason": "signed_out"}]
    await_erased()
    assert in_tables(MARK) == []
    time.sleep(SLACK_SECONDS + 1)
    again = User.objects.create_user("ada", password="of another person", pk=key)
    say("welcome", to=again)
    late = [_knock(frozen, cookies[there], there.start) for _ in range(5)]
    frozen.resume()
    for knocking in late:
        assert MARK.encode() not in knocking()
    assert not [event for event in rest_of(there.stream) if event.type == "message"]
    for tab in (here, there):
        assert tab.come(last_event_id=tab.start).status == 401
    new = Tab(stack, frozen, again)
    assert published(new.come(last_event_id=new.start).until("ping")) == []
    assert published(new.come(last_event_id=here.start).until(is_("welcome"))) == ["welcome"]


def _knock(gateway: Gateway, cookie: str, after: str) -> Callable[[], bytes]:
    """Send a request for a stream, and return what reads all that comes within a moment."""
    import socket

    connection = socket.create_connection(("127.0.0.1", gateway.port))
    head = f"GET /events/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nLast-Event-ID: {after}\r\n\r\n"
    connection.sendall(head.encode())

    def read() -> bytes:
        data, deadline = b"", time.monotonic() + 5
        with connection:
            connection.settimeout(5)
            try:
                while (piece := connection.recv(65_536)) and time.monotonic() < deadline:
                    data += piece
            except TimeoutError:
                pass
        assert data.startswith(b"HTTP/1.1 "), "it was answered"
        return data

    return read


@pytest.mark.proof
@DATABASES
def test_a_replay_is_under_way(project: Make, database: str, stack: ExitStack) -> None:
    one = project(database)
    one.configure(**NO_CHECKS | {"WINDOW_BYTES": 100_000})
    tab = Tab(stack, one.serve(), ada := one.person("ada"))
    tab.stream.close()
    pieces = 60
    say(*(f"{number} {'x' * 50_000}" for number in range(pieces)), to=ada)
    slow = tab.come(last_event_id=tab.start, receive_buffer=4_096)
    slow.until("message")
    ada.delete()
    await_erased()
    assert len([event for event in rest_of(slow) if event.type == "message"]) < pieces / 2
    assert in_tables("xxxxx") == []
    assert tab.come(last_event_id=tab.start).status == 401


@pytest.mark.proof
@DATABASES
def test_the_verb_without_a_gateway_and_with_the_next_one(project: Make, database: str) -> None:
    one = project(database)
    ada = one.person("ada")
    gateway = one.serve()
    say(MARK, to=ada)
    gateway.wait_until(lambda: Log.objects.filter(payload__contains=MARK).exists(), what="numbered")
    gateway.stop()
    for _ in range(2):
        told = one.run("taskbell", "forget", "ada", "--yes")
        assert told.returncode == 0, told.stderr
        assert "no gateway runs" in told.stdout
    assert in_tables(MARK) != []
    one.serve()
    await_erased()
    assert in_tables(MARK) == []
    told = one.run("taskbell", "forget", str(ada.pk), "--key", "--yes")
    assert told.stdout == f"ada (key {ada.pk}) is forgotten, and everything is erased.\n"


# What a window and a hub keep


def hub_of(log: PaperLog) -> Hub:
    hub = Hub(Window(1_000_000), lambda stream: None, lambda stream: None)
    hub.start_at(log.head, log.frames())
    return hub


def in_memory(hub: Hub) -> bytes:
    """Return all bytes of events that a hub holds, in its window and on their way."""
    waiting = [frame for item in hub.pending for frame in item]  # type: ignore[union-attr]
    return b"".join(frame.data for frame in [*hub.window, *waiting])


def test_a_window_keeps_numbers_and_nonces_of_a_channel_that_is_dropped() -> None:
    log = PaperLog("log")
    for channel, key in [("user:a", None), ("user:b", None), ("user:a", "run"), ("user:b", "run")]:
        log.add(channel, latest_key=key)
    window = Window(1_000_000)
    window.add(log.frames())
    window.drop("user:a")
    window.drop("user:a")
    assert [frame.seq for frame in window.after(0, ["user:a", "user:b"])] == [2, 4]
    assert [window.nonce_at(row.seq) for row in log.rows] == [row.nonce for row in log.rows]
    assert not window.superseded("user:a", "run", 0)
    assert window.superseded("user:b", "run", 0)
    small = Window(0)
    small.add(window)
    assert len(small) == 1


def test_a_hub_forgets_also_what_is_on_its_way() -> None:
    log = PaperLog("log")
    for _ in range(3):
        log.add("user:a"), log.add("user:b")
    hub = hub_of(log)
    loop = PaperLoop()
    with loop.running():
        log.add("user:a"), log.add("user:b")
        hub.feed(log.frames(after=6))
        hub.forget({"user:a"})
        assert in_memory(hub).count(b"event: message") == 4
        while loop.turn():
            pass
    assert hub.position == log.head
    assert [frame.seq for frame in hub.window.after(0, ["user:a"])] == []
    assert [frame.seq for frame in hub.window.after(0, ["user:b"])] == [2, 4, 6, 8]


class TestOneThatStoodStill:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [1_000.0]
        monkeypatch.setattr("taskbell.gateway.hub.time.monotonic", lambda: now[0])
        return now

    def test_gives_nothing_from_memory_until_it_has_looked(self, clock: list[float]) -> None:
        log = PaperLog("log")
        for _ in range(3):
            log.add("user:a")
        hub = hub_of(log)
        hub.look(clock[0])
        stays, leaves = PaperStream("user:a"), PaperStream("user:a")
        loop = PaperLoop()
        with loop.running():
            clock[0] += 1_000
            assert not hub.is_current
            for stream in (stays, leaves):
                stream.hub = hub
                hub.join(stream, log.place(1))
            while loop.turn():
                pass
            assert {tuple(stream.types) for stream in (stays, leaves)} == {("ping",)}
            hub.expel(leaves)
            hub.look(clock[0])
            while loop.turn():
                pass
        assert stays.types == ["ping", "message", "message"]
        assert leaves.types == ["ping", "bye"]

    def test_hands_on_no_replay_that_was_read_before(self, clock: list[float]) -> None:
        log = PaperLog("log")
        log.add("user:a"), log.add("user:a")
        hub = hub_of(log)
        hub.look(clock[0])
        stream = PaperStream("user:a")
        loop = PaperLoop()
        with loop.running():
            stream.hub = hub
            clock[0] += 1_000
            hub.join(stream, log.place(1))
            hub.hand_over(stream, log.frames()[1].data, 2)
            assert stream.types == ["ping"]
            hub.look(clock[0])
            while loop.turn():
                pass
        assert stream.types == ["ping", "message"], "once"
