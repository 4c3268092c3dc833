"""What a worker's main process says of runs that leave without a word, by a clock that the test sets."""

import os
import subprocess
from collections.abc import Iterator

import pytest
from django.test import override_settings

from taskbell.runs.reaper import INTERRUPTED
from taskbell.runs.states import Fact, Identity, Run
from taskbell.runs.watch import STALL_SECONDS, STEP_SECONDS, Watch
from taskbell.runs.worker import Fate, Held, Worker

LEASE = 30
IDENTITY = Identity(run="r", task_id="t", engine="celery", name="n", label="l", user_key="1", queued_at=1)
FIRST, SECOND = "1-a", "2-b"


class Message:
    """A queue's receipt, as the test wants it."""

    def __init__(self) -> None:
        self.here = True
        self.then: Fate = "lost"

    def is_here(self) -> bool:
        return self.here

    def fate(self) -> Fate:
        return self.then


class Stage:
    """A worker, its watch, and what they told the writer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.told: list[Fact] = []
        self.stored: Fact | None = None
        self.worker = Worker()
        self.watch = Watch(self.worker, self.probe, clock=lambda: self.now)
        monkeypatch.setattr("taskbell.runs.worker.writer.put", self.told.append)

    def probe(self, run: Run) -> Fact | None:
        return self.stored

    def receive(self, attempt: int = 1) -> Message:
        message = Message()
        self.worker.hold(IDENTITY, attempt, message)
        return message

    def say(self, kind: str, execution: str = FIRST, attempt: int = 1, pid: int = 0) -> None:
        fact = Fact(identity=IDENTITY, kind=kind, at=1.0, execution=execution, attempt=attempt)  # type: ignore[arg-type]
        self.worker.take(fact, pid)
        self.told.remove(fact)

    def wait(self, seconds: float) -> list[str]:
        """Look every second, and return what was told."""
        for _ in range(int(seconds / STEP_SECONDS)):
            self.watch.step()
            self.now += STEP_SECONDS
        return self.kinds()

    def kinds(self) -> list[str]:
        return [fact.kind for fact in self.told]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with override_settings(TASKBELL={"LEASE": LEASE}):
        yield Stage(monkeypatch)


def test_what_is_gone_for_a_lease_is_lost(stage: Stage) -> None:
    message = stage.receive()
    stage.say("started")
    message.here = False
    assert stage.wait(LEASE) == []
    assert stage.wait(2) == ["lost"]
    assert stage.wait(2 * LEASE) == ["lost"]
    assert stage.told[0].execution == FIRST


@pytest.mark.parametrize(("fate", "told"), [("succeeded", "succeeded"), ("returns", "retrying"), ("lost", "lost")])
def test_the_queue_says_what_becomes_of_it(stage: Stage, fate: Fate, told: str) -> None:
    message = stage.receive()
    stage.say("started")
    message.here, message.then = False, fate
    assert stage.wait(LEASE + 2) == [told]
    assert (stage.told[0].error_message == INTERRUPTED) is (fate == "returns")


def test_an_ending_that_is_stored_is_told(stage: Stage) -> None:
    message = stage.receive()
    stage.say("started")
    message.here = False
    stage.stored = Fact(identity=IDENTITY, kind="succeeded", at=1.0, execution=FIRST)
    assert stage.wait(LEASE + 2) == ["succeeded"]


@pytest.mark.parametrize("kind", ["succeeded", "failed", "retrying"])
def test_last_words_may_come_late(stage: Stage, kind: str) -> None:
    message = stage.receive()
    stage.say("started")
    message.here = False
    assert stage.wait(LEASE - 1) == []
    stage.say(kind)
    assert stage.wait(2 * LEASE) == []


def test_what_waits_and_what_runs_is_left_alone(stage: Stage) -> None:
    stage.receive()
    assert stage.wait(2 * LEASE) == []
    stage.say("started")
    assert stage.wait(2 * LEASE) == []


def test_what_never_started_and_comes_again_still_waits(stage: Stage) -> None:
    message = stage.receive()
    message.here, message.then = False, "returns"
    assert stage.wait(2 * LEASE) == []
    assert stage.worker.departed() == []


def test_a_retry_may_be_received_before_the_attempt_before_says_so(stage: Stage) -> None:
    first = stage.receive()
    stage.say("started")
    first.here, first.then = False, "returns"
    stage.receive(attempt=2)
    stage.say("retrying")
    assert stage.wait(2 * LEASE) == []


def test_a_redelivery_tells_of_the_execution_that_was_cut_off(stage: Stage) -> None:
    first = stage.receive()
    stage.say("started")
    first.here, first.then = False, "returns"
    again = stage.receive()
    assert stage.kinds() == ["retrying"]
    stage.say("started", SECOND)
    stage.say("progress", FIRST)
    again.here = False
    assert stage.wait(LEASE + 2) == ["retrying", "lost"]
    assert stage.told[1].execution == SECOND


def test_a_redelivery_while_the_first_still_runs_tells_nothing(stage: Stage) -> None:
    stage.receive()
    stage.say("started")
    stage.receive()
    assert stage.wait(2 * LEASE) == []


def test_after_a_stall_the_lease_begins_anew(stage: Stage) -> None:
    message = stage.receive()
    stage.say("started")
    message.here = False
    stage.wait(LEASE - 1)
    stage.now += STALL_SECONDS + 100
    assert stage.wait(LEASE) == []
    assert stage.wait(2) == ["lost"]


def test_what_runs_in_this_process_is_here_until_it_is_over(stage: Stage) -> None:
    """Threads cannot be stopped, whatever the queue believes of them."""
    message = stage.receive()
    stage.say("started", pid=os.getpid())
    message.here = False
    assert stage.wait(2 * LEASE) == []
    assert stage.worker.works_inside
    held = stage.worker.find("t")
    assert held is not None
    held.broken = True
    assert not stage.worker.works_inside
    assert stage.wait(LEASE + 2) == ["lost"]


def test_what_was_never_received_is_here_as_long_as_its_process(stage: Stage) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        stage.say("started", pid=process.pid)
        assert stage.wait(2 * LEASE) == []
        process.kill()
    assert stage.wait(LEASE + 2) == ["lost"]


def test_what_others_enqueue_is_not_held(stage: Stage) -> None:
    stage.say("queued", "")
    assert stage.worker.find("t") is None


def test_closing_tells_at_once(stage: Stage) -> None:
    message = stage.receive()
    stage.say("started")
    message.here, message.then = False, "returns"
    stage.watch.close()
    assert stage.kinds() == ["retrying"]


def test_a_run_that_is_told_otherwise_meanwhile_is_told_once(stage: Stage) -> None:
    message = stage.receive()
    stage.say("started")
    message.here = False
    stage.wait(LEASE)
    stage.worker.end(Held(IDENTITY), "failed")
    assert stage.wait(10) == ["failed"]
