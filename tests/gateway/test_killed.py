"""A gateway killed at every step between a commit and the bytes on the wire: who resumes has everything, once."""

import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from taskbell import publish
from tests.gateway.real import Make, is_, published, say
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project
from tests.servers.sse import Cut, Ended, Event, Parser, Stream

pytestmark = pytest.mark.proof

STREAMS, EVENTS = 5, 12
#: Slices of two streams, so that five make three; pulls and replay rounds of a few events.
SMALL: dict[str, Any] = {
    "taskbell.gateway.hub:SLICE": 2,
    "taskbell.gateway.hub:PULL_BYTES": 300,
    "taskbell.gateway.replay:PULL_BYTES": 3,
}

TICK = "taskbell.store.tick:Ticker"
HUB = "taskbell.gateway.hub:Hub"

#: While events come one by one to streams that are open.
LIVE = {
    "before the tick": {"at": f"{TICK}._tick", "call": 8},
    "between reading and numbering": {"at": "taskbell.gateway.pump:Pump._tick", "call": 5},
    "between the commit of a tick and the hub": {"at": "taskbell.gateway.pump:Pump._hand_over", "call": 3},
    "after the hub was told": {"at": f"{HUB}.feed", "call": 4, "when": "after"},
    "before a fan-out": {"at": "taskbell.gateway.audience:Audience.fanout_of", "call": 3},
    "between slices": {"at": f"{HUB}._turn", "call": 8, "when": "after"},
    "between two streams of a slice": {"at": "taskbell.gateway.wire:DetachedStream.push", "call": 14},
    "in the middle of a frame": {"at": "taskbell.gateway.wire:DetachedStream.push", "call": 12, "when": "halfway"},
}
#: With the batch numbered and the head's lock held, before the commit.
LOCKED = {
    "plain events": {"at": "taskbell.store.plain:_in_few_statements", "call": 3, "when": "after"},
    "events for new people": {"at": f"{TICK}._number", "call": 3, "when": "after"},
}
#: While streams catch up, from the window or, where it is one frame, from the log.
REPLAY = {
    "before reading the log": {"at": "taskbell.gateway.replay:read_missed", "call": 2},
    "after reading the log": {"at": "taskbell.gateway.replay:read_missed", "call": 2, "when": "after"},
    "between pieces of a replay": {"at": f"{HUB}.hand_over", "call": STREAMS + 2},
    "in the middle of a replayed frame": {
        "at": "taskbell.gateway.wire:DetachedStream.write",
        "call": STREAMS + 4,
        "when": "halfway",
    },
}


def failing(one: Project, failpoint: dict[str, Any]) -> Gateway:
    """Start a gateway that will die there."""
    port = free_port()
    environment = one.env | {"FAILPOINT": json.dumps({"set": SMALL} | failpoint)}
    argv = [sys.executable, "-m", "tests.gateway.failing", str(port)]
    gateway = Gateway(argv, port=port, env=environment, cwd=one.folder, log=one.folder / f"failing-{port}.log")
    one.processes.append(gateway)
    gateway.wait_until(lambda: gateway.status("/readyz") == 200, what="ready")
    return gateway


class Page:
    """A page with one channel open: it keeps its place and what it read, over as many connections as it takes."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.place = ""
        self.stream: Stream

    def open(self, gateway: Gateway) -> None:
        self.stream = gateway.stream("/events/public:news/", last_event_id=self.place)
        self.events.append(self.stream.read())
        self.place = self.events[-1].id

    def read(self, until: Callable[[Event], bool] = lambda event: False) -> None:
        """Read up to an event, or what arrives whole before the connection is gone, however it goes."""
        try:
            while True:
                self.events.append(self.stream.read())
                self.place = self.events[-1].id
                if until(self.events[-1]):
                    return
        except (Ended, Cut):
            return


def open_pages(gateway: Gateway) -> list[Page]:
    pages = [Page() for _ in range(STREAMS)]
    for page in pages:
        page.open(gateway)
    return pages


def resume(pages: list[Page], gateway: Gateway) -> None:
    """Open all pages again, on a gateway that lives, and read to the end."""
    say("last")
    for page in pages:
        page.stream.close()
        page.open(gateway)
    for page in pages:
        page.read(is_("last"))
        page.stream.close()


def judge(pages: list[Page]) -> None:
    for page in pages:
        assert published(page.events) == [*range(EVENTS), "last"]
        assert {event.type for event in page.events} == {"ping", "message"}, "no reset: nothing was lost"
        ids = [event.id for event in page.events if event.type == "message"]
        assert len(ids) == EVENTS + 1, "what had arrived whole does not come again"


def dead(gateway: Gateway) -> bool:
    return gateway.wait(10) == -signal.SIGKILL


def greet_somebody_new(one: Project, number: int) -> None:
    """Publish to a person who has no channel yet, so that the batch is not a plain one."""
    publish(one.person(f"person-{number}"), "message", "welcome")


def killed_while_live(one: Project, failpoint: dict[str, Any], greet: bool = False) -> None:
    one.configure(POLL=1)
    gateway = failing(one, failpoint)
    pages = open_pages(gateway)
    for number in range(EVENTS):
        with transaction.atomic():
            say(number)
            if greet:
                greet_somebody_new(one, number)
        pages[0].read(is_(number))  # so that each event is a tick, and a fan-out, of its own
    for page in pages:
        page.read()
    assert dead(gateway), f"it did not come to this point\n{gateway.output()}"
    resume(pages, one.serve())
    judge(pages)


@pytest.mark.parametrize("point", LIVE)
def test_killed_with_open_streams(project: Make, point: str) -> None:
    killed_while_live(project("sqlite"), LIVE[point])


@pytest.mark.parametrize(
    ("database", "batch"),
    [("sqlite", "plain events"), ("sqlite", "events for new people"), ("postgres", "events for new people")],
)
def test_killed_inside_the_tick(project: Make, database: str, batch: str) -> None:
    """On PostgreSQL a plain batch is one statement: there is no inside."""
    killed_while_live(project(database), LOCKED[batch], greet=batch != "plain events")


@pytest.mark.parametrize("point", ["between the commit of a tick and the hub", "between slices"])
def test_killed_with_open_streams_on_postgres(project: Make, point: str) -> None:
    killed_while_live(project("postgres"), LIVE[point])


def killed_while_resuming(one: Project, failpoint: dict[str, Any]) -> None:
    one.configure(POLL=1, WINDOW_BYTES=1)
    gateway = one.serve()
    pages = open_pages(gateway)
    gateway.stop()
    say(*range(EVENTS))
    ticked = one.serve()
    ticked.stop()
    gateway = failing(one, failpoint)
    for page in pages:
        page.stream.close()
        with suppress(Cut, ConnectionError):  # it may be dead already
            page.open(gateway)
            page.read(is_(0))
    for page in pages:
        if page.stream.socket.fileno() >= 0:
            page.read()
    assert dead(gateway), f"it did not come to this point\n{gateway.output()}"
    resume(pages, one.serve())
    judge(pages)


@pytest.mark.parametrize("point", REPLAY)
def test_killed_while_streams_resume(project: Make, point: str) -> None:
    killed_while_resuming(project("sqlite"), REPLAY[point])


@pytest.mark.parametrize("point", ["between pieces of a replay"])
def test_killed_while_streams_resume_on_postgres(project: Make, point: str) -> None:
    killed_while_resuming(project("postgres"), REPLAY[point])


def test_a_connection_cut_at_any_byte_loses_and_doubles_nothing(project: Make) -> None:
    """Whatever part of a frame had arrived: the page resumes from the last whole one."""
    one = project("sqlite")
    gateway = one.serve()
    with gateway.stream("/events/public:news/", record=True) as stream:
        opening = len(stream.read().data) and len(stream.raw)
        say(1, 2)
        stream.until(is_(2))
        raw = bytes(stream.raw)
    for cut in range(opening, len(raw) + 1):
        parser = Parser()
        before = parser.feed(raw[:cut])
        with gateway.stream("/events/public:news/", last_event_id=parser.last_event_id) as stream:
            seen = published(before)
            missing = [n for n in (1, 2) if n not in seen]
            after = stream.until(is_(2)) if missing else [stream.read()]
            assert seen + published(after) == [1, 2], f"cut after {raw[:cut]!r}"
            assert published(after) == missing, "what was read whole does not come again"
