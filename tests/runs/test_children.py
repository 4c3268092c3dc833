"""Datagrams from a worker's children: real forks, a real socket, and nobody waits long."""

import os
import threading
import time
from collections.abc import Iterator
from statistics import median

import pytest

from taskbell.runs.children import CHILD_WAIT, Children
from taskbell.runs.states import Fact, Identity

IDENTITY = Identity(run="r", task_id="t", engine="celery", name="n", label="é\0", user_key="1", queued_at=1.25)


class Main:
    """A worker's main process, which may stop reading."""

    def __init__(self) -> None:
        self.taken: list[Fact] = []
        self.pids: set[int] = set()
        self.frozen = False
        self.children = Children(self.take)

    def take(self, fact: Fact, pid: int) -> None:
        while self.frozen:
            time.sleep(0.01)
        if fact.message == "refused":
            raise ValueError(fact.message)
        self.taken.append(fact)
        self.pids.add(pid)

    def until(self, count: int) -> list[Fact]:
        deadline = time.monotonic() + 10
        while len(self.taken) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.taken


@pytest.fixture
def main() -> Iterator[Main]:
    made = Main()
    yield made
    made.frozen = False
    made.children.close()


def fact(**values: object) -> Fact:
    return Fact(**({"identity": IDENTITY, "kind": "started", "at": 2.5} | values))  # type: ignore[arg-type]


def in_child(work: object) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            assert callable(work)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_facts_of_children_arrive_whole_and_in_order(main: Main) -> None:
    facts = [fact(attempt=n, result={"text": "é" * n * 100}) for n in range(1, 51)]

    def work() -> None:
        assert main.children.in_child
        for one in facts:
            main.children.send(one)

    assert not main.children.in_child
    assert in_child(work) == 0
    assert main.until(50) == facts
    assert len(main.pids - {os.getpid()}) == 1


def test_a_fact_of_the_largest_result_arrives(main: Main) -> None:
    assert in_child(lambda: main.children.send(fact(result="x" * 48_000))) == 0
    assert len(main.until(1)) == 1


def test_a_main_process_that_does_not_read_costs_a_tenth_of_a_second_each(main: Main) -> None:
    main.frozen = True
    took = []
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        began = time.monotonic()
        main.children.send(fact(message="x" * 200))
        took.append(time.monotonic() - began)
    waited = [seconds for seconds in took if seconds > CHILD_WAIT / 2]
    # The median, because on two busy cores anything may now and then be woken late.
    assert 0.9 * CHILD_WAIT < median(waited) < 1.5 * CHILD_WAIT


def test_a_fact_that_cannot_be_sent_is_counted_and_said(main: Main, caplog: pytest.LogCaptureFixture) -> None:
    main.children.send(fact(kind="succeeded", result="x" * 70_000))
    main.children.send(fact(kind="progress", message="x" * 70_000))
    main.children.send(fact())
    assert len(main.until(1)) == 1
    assert main.children.dropped == 2
    assert caplog.text.count("did not reach the worker") == 1


def test_what_a_child_had_to_drop_comes_with_its_next_fact(main: Main, caplog: pytest.LogCaptureFixture) -> None:
    def work() -> None:
        for _ in range(2):
            main.children.send(fact(message="x" * 70_000))
            main.children.send(fact(message="x" * 70_000))
            main.children.send(fact())

    # A child that is forked later does not begin with what the main process counted.
    assert in_child(work) == 0
    assert len(main.until(2)) == 2
    assert in_child(work) == 0
    assert len(main.until(4)) == 4
    assert main.children.dropped == 8
    assert caplog.text.count("drop facts of their tasks: 2 until now") == 1


def test_closing_takes_what_was_sent_before(main: Main) -> None:
    main.frozen = True
    for attempt in range(1, 4):
        main.children.send(fact(attempt=attempt))
    threading.Timer(0.2, lambda: setattr(main, "frozen", False)).start()
    main.children.close()
    assert [taken.attempt for taken in main.taken] == [1, 2, 3]
    main.children = Children(main.take)


def test_what_is_no_fact_stops_nothing(main: Main, caplog: pytest.LogCaptureFixture) -> None:
    for data in (b"\xff", b"7 0 {}", b"7 0 [1]", b'7 0 {"identity": {}}'):
        main.children._writer.send(data)
    main.children.send(fact(message="refused"))
    main.children.send(fact(attempt=7))
    assert [taken.attempt for taken in main.until(1)] == [7]
    assert caplog.text.count("is no fact") == 1, "once a minute"
