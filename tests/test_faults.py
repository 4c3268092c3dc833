"""A fault that lasts is told once a minute, whatever it is called, and always in one line."""

import logging

import pytest

from taskbell import faults
from taskbell.faults import Fault, plain


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_lasting_fault_is_told_once_a_minute_with_its_count(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    fault = Fault(clock=clock)
    for _ in range(120):
        fault.tell("no answer from %s", "there")
        clock.now += 1
    assert caplog.messages == ["no answer from there", "no answer from there (59 times more since this was last told)"]


def test_the_end_of_a_fault_is_told_if_the_fault_was(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskbell")
    fault = Fault(clock=clock)
    fault.over("well")
    fault.tell("ill")
    fault.over("well")
    fault.over("well")
    assert caplog.messages == ["ill", "well"]


def test_a_fault_that_comes_and_goes_fills_no_log(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "taskbell")
    fault = Fault(clock=clock)
    for _ in range(59):
        fault.tell("ill")
        fault.over("well")
        clock.now += 1
    assert caplog.messages == ["ill", "well"]


def test_faults_are_known_by_their_message_and_what_they_are_about(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        for name in ("prune", "reaper"):
            faults.error("%s is ill", name, about=name)
    faults.error("something else")
    assert caplog.messages == ["prune is ill", "reaper is ill", "something else"]
    faults.forget()
    faults.error("something else")
    assert caplog.messages[3:] == ["something else"]


def test_a_record_carries_how_often_and_the_traceback(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    fault = Fault(logging.ERROR, clock)
    for _ in range(3):
        try:
            raise ValueError("a reason")
        except ValueError as error:
            fault.tell("it fails: %s", error, traceback=True)
        clock.now += 30
    assert [record.times for record in caplog.records] == [1, 2]  # type: ignore[attr-defined]
    assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("two\nlines", "two\\nlines"),
        ("\r\x1b[2K", "\\r\\x1b[2K"),
        ("\x85\u2028\u202e", "\\x85\\u2028\\u202e"),
        ("\ud800", "\\ud800"),
        ("작업 “a”", "작업 “a”"),
    ],
)
def test_no_text_from_elsewhere_makes_a_line_of_its_own(text: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    assert plain(text) == told
    Fault().tell("Task %s of %d: %s", text, 3, ValueError(text))
    assert caplog.messages == [f"Task {told} of 3: {told}"]
