"""Telling workers what to cancel, by a clock that the test sets: when, whom, and what if the broker is away."""

import threading
import uuid
from collections.abc import Sequence
from typing import Any

import pytest

from taskbell.models import Worker
from taskbell.runs.cancel import PAUSE_AFTER_ERROR, PAUSES, STEP_SECONDS, Cancels
from taskbell.runs.states import Run
from tests.runs.telling import FIRST, SECOND, Life, told

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

ALIAS = "default"


class Office:
    """The loop with its clock, and what it sent."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.sent: list[tuple[set[str], list[str]]] = []
        self.error: Exception | None = None
        self.hangs = threading.Event()
        self.hangs.set()
        self.threads: set[threading.Thread] = set()
        self.loop = Cancels(self.cancel, clock=lambda: self.now)

    def cancel(self, runs: Sequence[Run], workers: Sequence[str]) -> None:
        self.threads.add(threading.current_thread())
        assert self.hangs.wait(60)
        if self.error:
            raise self.error
        self.sent.append(({run.identity.run for run in runs}, list(workers)))

    def step(self) -> None:
        self.loop.step(ALIAS)
        if self.hangs.is_set():
            # A thread that is about to end has left the list of all, and is alive all the same.
            for thread in {*threading.enumerate(), *self.threads}:
                if thread.name == "taskbell-cancel":
                    thread.join(60)
            self.threads.clear()

    def wait(self, seconds: float) -> list[float]:
        """Look every second, and return after how many something was sent."""
        began, times = self.now, []
        while self.now - began < seconds:
            before = len(self.sent)
            self.step()
            times += [self.now - began] * (len(self.sent) - before)
            self.now += STEP_SECONDS
        return times


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture(autouse=True)
def worker() -> Worker:
    return Worker.objects.create(id=uuid.uuid4(), name="celery@one")


def asked(ada: Any, *kinds: Any) -> Life:
    life = Life(ada)
    told(*map(life, kinds or ("started",)), life("cancelling"))
    return life


def test_only_what_is_open_and_was_asked_for_is_told(office: Office, ada: Any) -> None:
    open_ones = [asked(ada, "queued"), asked(ada, "started"), asked(ada, "started", "retrying")]
    told(Life(ada)("started"))
    ended = asked(ada)
    told(ended("succeeded"))
    office.step()
    assert office.sent == [({life.identity.run for life in open_ones}, ["celery@one"])]


def test_it_is_told_again_at_growing_intervals_until_it_ends(office: Office, ada: Any) -> None:
    life = asked(ada)
    due = [sum(PAUSES[:n]) for n in range(len(PAUSES) + 1)]
    assert office.wait(due[-1] + 1) == due
    assert office.wait(2 * PAUSES[-1]) == [PAUSES[-1] - 1, 2 * PAUSES[-1] - 1]
    told(life("cancelled"))
    assert office.wait(200) == []


def test_a_wish_of_its_own_each(office: Office, ada: Any) -> None:
    first = asked(ada)
    office.wait(10)
    second = asked(ada)
    office.sent.clear()
    office.step()
    assert office.sent == [({second.identity.run}, ["celery@one"])]
    assert first.row.cancel_requested_at is not None


def test_a_worker_that_starts_is_told_at_once(office: Office, ada: Any) -> None:
    asked(ada)
    office.wait(100)
    Worker.objects.create(id=uuid.uuid4(), name="celery@two")
    office.sent.clear()
    office.step()
    assert [workers for _, workers in office.sent] == [["celery@one", "celery@two"]]


def test_a_restarted_worker_has_its_old_name_and_is_told(office: Office, ada: Any) -> None:
    asked(ada)
    office.wait(100)
    Worker.objects.create(id=uuid.uuid4(), name="celery@one")
    office.sent.clear()
    office.step()
    assert [workers for _, workers in office.sent] == [["celery@one"]]


def test_without_a_worker_nobody_is_told(office: Office, ada: Any, worker: Worker) -> None:
    worker.delete()
    asked(ada)
    assert office.wait(5) == []
    Worker.objects.create(id=uuid.uuid4(), name="celery@two")
    assert office.wait(1) == [0]


def test_a_broker_that_is_away_is_tried_again_and_complained_of_now_and_then(
    office: Office, ada: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asked(ada)
    office.wait(100)
    caplog.clear()
    office.error = OSError("no broker")
    office.wait(120)
    assert len(caplog.records) == 1
    assert "no broker" in caplog.text
    office.error = None
    assert office.wait(PAUSE_AFTER_ERROR + 2)[0] <= PAUSE_AFTER_ERROR


def test_a_broker_that_hangs_holds_nothing_up(office: Office, ada: Any) -> None:
    asked(ada)
    office.hangs.clear()
    try:
        office.wait(100)
        assert [thread.name for thread in threading.enumerate()].count("taskbell-cancel") == 1
    finally:
        office.hangs.set()
    assert office.wait(2)[:1] == [0]


def test_an_engine_that_nobody_listens_to_is_left_out(ada: Any) -> None:
    from taskbell.engines.base import cancel

    life = Life(ada, engine="unheard of")
    cancel([Run(identity=life.identity)], ["celery@one"])


@pytest.mark.parametrize("at", range(4))
def test_wherever_the_wish_falls_there_is_one_ending(ada: Any, at: int) -> None:
    life = Life(ada)
    facts = [
        life("queued"),
        life("started"),
        life("retrying"),
        life("started", attempt=2, execution=SECOND),
        life("succeeded", attempt=2, execution=SECOND),
    ]
    events = told(*facts[: at + 1], life("cancelling", execution=FIRST), *facts[at + 1 :])
    assert [event["state"] for event in events if event["cancelling"]]
    assert events[-1]["state"] == "succeeded"
    assert not events[-1]["cancelling"]
