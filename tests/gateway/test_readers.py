"""Slow readers, readers that stop, and large events: bounded memory, nothing lost, the healthy slow one never cut."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from django.db import connections

from taskbell.exceptions import PayloadTooLarge
from tests.gateway.real import KINDS, QUICK, Make, Start, is_, published, say
from tests.servers.project import Gateway
from tests.servers.sse import Cut, Ended, Event, Stream

pytestmark = pytest.mark.proof

NEWS = "/events/public:news/"
# Without it the kernel reads megabytes ahead of a slow reader, who then is not slow.
SMALL_BUFFER = 8192
MIB = 1024 * 1024


def memory_of(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.pid).memory_info().rss)


class Growth:
    """How much a gateway's memory grew at most while something went on."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.most = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ending.wait(0.02):
            self.most = max(self.most, memory_of(self.gateway))

    def __enter__(self) -> "Growth":
        self.before = self.most = memory_of(self.gateway)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    @property
    def mib(self) -> float:
        return (self.most - self.before) / MIB


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Make these calls in threads of their own and return their results."""
    results: list[Any] = [None] * len(calls)

    def run(number: int) -> None:
        try:
            results[number] = calls[number]()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def until_cut(stream: Stream, timeout: float) -> list[Event]:
    events: list[Event] = []
    try:
        while True:
            events.append(stream.read(timeout))
    except (Ended, Cut):
        return events


@KINDS
def test_an_event_of_64_kib_arrives_and_one_byte_more_is_refused(project: Make, start: Start) -> None:
    one = project("sqlite")
    gateway = start(one)
    largest = "x" * (64 * 1024 - 2)
    with gateway.stream(NEWS) as fast, gateway.stream(NEWS, receive_buffer=SMALL_BUFFER, pace=60_000) as slow:
        fast.read(), slow.read()
        say(largest)
        with pytest.raises(PayloadTooLarge):
            say(largest + "x")
        say("after")
        assert published(fast.until(is_("after"))) == [largest, "after"]
        assert published(slow.until(is_("after"))) == [largest, "after"]


@KINDS
def test_a_long_replay_over_a_slow_link_loses_nothing(project: Make, start: Start) -> None:
    """200 KiB at 40 KiB/s take five seconds, far longer than STALLED: slow, but healthy."""
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 20, "STALLED": 2})
    gateway = start(one)
    with gateway.stream(NEWS) as stream:
        place = stream.read().id
        payloads = [f"{number} " + "x" * 2000 for number in range(100)]
        say(*payloads)
        stream.until(is_(payloads[-1]))
    with Growth(gateway) as growth:
        with gateway.stream(NEWS, last_event_id=place, receive_buffer=SMALL_BUFFER, pace=40_000, timeout=40) as stream:
            began = time.monotonic()
            events = stream.until(is_(payloads[-1]))
            took = time.monotonic() - began
            say("and live")
            events += stream.until(is_("and live"))
    assert published(events) == [*payloads, "and live"]
    assert len([event for event in events if event.type == "message"]) == 101, "once each"
    assert took > 3, "it was slow"
    assert growth.mib < 6


@KINDS
def test_a_reader_that_stops_is_cut_and_resumes_where_it_was(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"PING": 20, "STALLED": 2, "WINDOW_BYTES": 1_000_000, "STREAMS_PER_PROCESS": 2})
    gateway = start(one)
    # Eight megabytes: the kernel takes a few of them before a plain stream is stuck.
    payloads = [f"{number} " + "x" * 20_000 for number in range(400)]
    with gateway.stream(NEWS, receive_buffer=SMALL_BUFFER) as stopped, gateway.stream(NEWS, timeout=30) as reader:
        stopped.read(), reader.read()
        events, _ = at_once(lambda: reader.until(is_(payloads[-1])), lambda: say(*payloads))
        assert published(events) == payloads, "others do not notice"
        gateway.wait_until(lambda: is_open(gateway), what="rid of the stopped reader", timeout=15)
        before = until_cut(stopped, timeout=5)
    assert len(published(before)) < len(payloads)
    with gateway.stream(NEWS, last_event_id=stopped.last_event_id, timeout=30) as again:
        after = again.until(is_(payloads[-1]))
    assert published(before) + published(after) == payloads


def is_open(gateway: Gateway) -> bool:
    """Tell whether a newcomer gets a stream."""
    with gateway.stream(NEWS) as stream:
        return stream.status == 200


def connections_of(gateway: Gateway) -> int:
    """Count its open TCP connections, with the one it listens on."""
    found = psutil.Process(gateway.pid).net_connections("tcp")
    return len([connection for connection in found if connection.status in {"LISTEN", "ESTABLISHED"}])


@KINDS
def test_slow_and_fast_readers_read_everything_once_while_it_is_published(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"STALLED": 3, "WINDOW_BYTES": 200_000})
    gateway = start(one)
    payloads = [f"{number} " + "x" * 2000 for number in range(500)]
    last = is_(payloads[-1])
    paces: list[int | None] = [None, None, 400_000, 150_000]
    streams = [
        gateway.stream(NEWS, pace=pace, receive_buffer=SMALL_BUFFER if pace else None, timeout=60) for pace in paces
    ]
    for stream in streams:
        stream.read()
    *read, _ = at_once(*(lambda s=stream: s.until(last) for stream in streams), lambda: say(*payloads))
    for stream in streams:
        stream.close()
    for events in read:
        messages = [event.json for event in events if event.type == "message"]
        assert messages == payloads
        assert {event.type for event in events} <= {"message", "ping"}


@KINDS
def test_many_stopped_readers_cost_little_and_hold_up_nobody(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK | {"STALLED": 60, "WINDOW_BYTES": 1_000_000})
    gateway = start(one)
    stopped = [gateway.stream(NEWS, receive_buffer=4096) for _ in range(100)]
    try:
        with gateway.stream(NEWS, timeout=30) as reader:
            reader.read()
            say("x" * 1000)
            reader.until("message")
            with Growth(gateway) as growth:
                for number in range(50):
                    payload = f"{number} " + "x" * 60_000
                    began = time.monotonic()
                    say(payload)
                    reader.until(is_(payload))
                    assert time.monotonic() - began < 5
    finally:
        for stream in stopped:
            stream.close()
    # 3 MB for each of 100 would be 300 MB. A pull or one event waits in each one's buffer.
    assert growth.mib < 100 * 0.25 + 8


@KINDS
def test_a_page_that_leaves_in_the_midst_of_a_large_event_is_forgotten(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    gateway = start(one)
    for leave in (Stream.close, Stream.abort):
        streams = [gateway.stream(NEWS, receive_buffer=4096) for _ in range(10)]
        for stream in streams:
            stream.read()
        say("x" * 60_000)
        for stream in streams:
            stream.socket.recv(1000)
            leave(stream)
    gateway.wait_until(lambda: connections_of(gateway) == 1, what="rid of all", timeout=10)
    assert "Traceback" not in gateway.output()
    assert "Task exception" not in gateway.output()
