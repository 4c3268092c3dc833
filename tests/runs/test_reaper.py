"""The reaper, by a clock that the test sets: who is dead, what is late, and who is never accused."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.test import override_settings

from taskbell.models import Outbox, Worker
from taskbell.runs.probes import Probes
from taskbell.runs.reaper import INTERRUPTED, STALL_SECONDS, STEP_SECONDS, Reaper
from taskbell.runs.states import Fact, Run
from taskbell.testing import deliver
from tests.runs.telling import Life, told

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

ALIAS = "default"
LEASE, LATE_AFTER, QUEUE_LIMIT = 30, 60, 86_400

User = get_user_model()


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(TASKBELL={"LEASE": LEASE, "LATE_AFTER": LATE_AFTER, "QUEUE_LIMIT": QUEUE_LIMIT}):
        yield


@pytest.fixture
def ada() -> Any:
    return User.objects.create(username="ada")


def knows_nothing(run: Run) -> Fact | None:
    return None


class Watch:
    """A reaper and its clock."""

    def __init__(self, probe: Callable[[Run], Fact | None] = knows_nothing) -> None:
        self.now = 1_000.0
        self.reaper = Reaper(probe, clock=lambda: self.now)

    def step(self) -> list[str]:
        """Look once, and return what was told."""
        self.reaper.step(ALIAS)
        told = list(Outbox.objects.order_by("id").values_list("type", flat=True))
        deliver()
        return told

    def watch(self, seconds: float, between: Callable[[], object] = lambda: None) -> list[str]:
        """Look every second, and return all that was told."""
        told = []
        for _ in range(int(seconds / STEP_SECONDS)):
            told += self.step()
            self.now += STEP_SECONDS
            between()
        return told


@pytest.fixture
def watch() -> Watch:
    return Watch()


def worker(**values: Any) -> Worker:
    return Worker.objects.create(**({"id": uuid.uuid4(), "name": "celery@here", "beat": 1} | values))


def running(ada: Any, by: Worker | None, **values: Any) -> Life:
    life = Life(ada)
    told(life("started", worker=str(by.id) if by else None, **values))
    return life


def ago(seconds: float) -> float:
    return time.time() - seconds


class TestDead:
    def test_a_worker_without_a_beat_for_a_lease_is_dead(self, ada: Any, watch: Watch) -> None:
        life = running(ada, worker())
        assert watch.watch(LEASE) == []
        assert watch.step() == ["lost"]
        assert (life.row.state, watch.watch(5)) == ("lost", [])

    def test_all_its_open_runs_are_told_and_no_others(self, ada: Any, watch: Watch) -> None:
        dead, alive = worker(), worker()
        lives = [running(ada, dead), running(ada, dead)]
        others = [running(ada, alive), running(ada, None)]
        ended = running(ada, dead)
        told(ended("succeeded"))
        assert watch.watch(LEASE + 1, lambda: beat(alive)) == ["lost", "lost"]
        assert [life.row.state for life in (*lives, *others, ended)] == [
            "lost", "lost", "running", "running", "succeeded",
        ]  # fmt: skip

    def test_a_beat_in_the_last_moment_counts(self, ada: Any, watch: Watch) -> None:
        by = worker()
        running(ada, by)
        for _ in range(3):
            assert watch.watch(LEASE) == []
            beat(by)
        assert watch.watch(LEASE + 1) == ["lost"]

    def test_a_beat_that_goes_backwards_is_a_sign_of_life(self, ada: Any, watch: Watch) -> None:
        """A database restored to an earlier moment."""
        by = worker(beat=100)
        running(ada, by)
        watch.watch(LEASE)
        Worker.objects.update(beat=3)
        assert watch.watch(LEASE) == []

    def test_a_worker_without_a_row_is_dead(self, ada: Any, watch: Watch) -> None:
        by = worker()
        life = running(ada, by)
        by.delete()
        assert watch.watch(LEASE) == []
        assert watch.step() == ["lost"]
        assert life.row.state == "lost"

    def test_what_acknowledges_late_will_be_tried_again(self, ada: Any, watch: Watch) -> None:
        life = running(ada, worker(), acks_late=True)
        assert watch.watch(LEASE + 1) == ["retrying"]
        assert (life.row.state, life.row.error_message) == ("retrying", INTERRUPTED)
        # It waits since it last started, however long ago it was enqueued.
        assert watch.watch(10) == []

    def test_lost_is_taken_back_by_a_sign_of_life(self, ada: Any, watch: Watch) -> None:
        life = running(ada, worker())
        watch.watch(LEASE + 1)
        told(life("started", execution="00000000000000009-x", worker=str(worker().id)))
        assert life.row.state == "running"


def beat(worker: Worker) -> None:
    Worker.objects.filter(id=worker.id).update(beat=worker.beat + 1)
    worker.beat += 1


class TestNotAccused:
    def test_after_the_start(self, ada: Any, watch: Watch) -> None:
        running(ada, worker())
        watch.watch(LEASE - 1)
        assert Watch().watch(LEASE) == []

    def test_after_a_stall(self, ada: Any, watch: Watch) -> None:
        """The reaper was stopped, or its machine slept; the worker may have slept with it."""
        running(ada, worker())
        for _ in range(3):
            assert watch.watch(LEASE) == []
            watch.now += STALL_SECONDS + LEASE
        assert watch.watch(LEASE + 1) == ["lost"]

    def test_after_a_database_error(self, ada: Any, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        running(ada, worker())
        watch.watch(LEASE)
        with monkeypatch.context() as patch:
            patch.setattr("taskbell.runs.reaper.Worker.objects", Away())
            with pytest.raises(OperationalError):
                watch.step()
        watch.now += 1
        assert watch.watch(LEASE) == []
        assert watch.step() == ["lost"]

    def test_by_a_wall_clock_that_is_set(self, ada: Any, watch: Watch) -> None:
        """Beats are counted, not dated; only the reaper's own monotonic clock is read."""
        Worker.objects.update(started_at=datetime(2000, 1, 1, tzinfo=UTC))
        by = worker(started_at=datetime(2100, 1, 1, tzinfo=UTC))
        running(ada, by)
        assert watch.watch(2 * LEASE, lambda: beat(by)) == []

    def test_by_two_reapers(self, ada: Any) -> None:
        life = running(ada, worker())
        one, other = Watch(), Watch()
        for each in (one, other):
            each.watch(LEASE)
        assert one.reaper.step(ALIAS) == other.reaper.step(ALIAS) == 1
        before = life.row.seq
        deliver()
        assert (life.row.state, life.row.seq) == ("lost", before + 1)


class Away:
    def using(self, alias: str) -> None:
        raise OperationalError("the server closed the connection unexpectedly")


def probing() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "taskbell-probe"]


class TestProbe:
    def test_the_ending_that_the_queue_knows_is_told(self, ada: Any) -> None:
        def probe(run: Run) -> Fact | None:
            assert run.identity.user_key == str(ada.pk)
            return Fact(identity=run.identity, kind="succeeded", at=1.0, attempt=1, execution=run.execution)

        life = running(ada, worker())
        assert Watch(probe).watch(LEASE + 1) == ["succeeded"]
        assert life.row.state == "succeeded"

    def test_a_queue_that_fails_knows_nothing(self, ada: Any, caplog: pytest.LogCaptureFixture) -> None:
        running(ada, worker())
        assert Watch(lambda run: 1 // 0).watch(LEASE + 1) == ["lost"]  # type: ignore[arg-type, return-value]
        assert "cannot be asked for" in caplog.text

    def test_a_queue_that_hangs_holds_nobody(self, ada: Any, caplog: pytest.LogCaptureFixture) -> None:
        release = threading.Event()
        by = worker()
        for _ in range(20):
            running(ada, by)
        watch = Watch()
        # Shorter than the two seconds that the ticker gives an idle transaction, which this whole test is.
        watch.reaper._probes = Probes(lambda run: release.wait(60) and None, seconds=0.5)
        try:
            watch.watch(LEASE)
            began = time.monotonic()
            assert watch.step() == ["lost"] * 20
            assert time.monotonic() - began < 3
            # While it hangs nobody else is asked, and no thread is added.
            running(ada, by)
            began, threads = time.monotonic(), probing()
            watch.now += 1
            assert watch.step() == ["lost"]
            assert time.monotonic() - began < 1
            assert probing() == threads
        finally:
            release.set()
            for thread in probing():
                thread.join(5)
        assert "no answer" in caplog.text

    def test_a_slow_queue_answers_for_some_and_the_others_are_asked_next_time(self, ada: Any) -> None:
        runs = [Run(identity=Life(ada).identity) for _ in range(10)]
        asked = []

        def probe(run: Run) -> Fact | None:
            time.sleep(0.05)
            asked.append(run)
            return None

        probes = Probes(probe, seconds=0.12)
        first = probes.ask(runs)
        assert 1 <= len(first) < 10
        time.sleep(0.1)
        assert len(asked) <= len(first) + 1

    def test_the_end_of_the_process_waits_for_no_queue(self, ada: Any) -> None:
        release = threading.Event()
        probes = Probes(lambda run: release.wait(60) and None, seconds=0.05)
        probes.ask([Run(identity=Life(ada).identity)])
        [thread] = probing()
        assert thread.daemon
        release.set()
        thread.join(5)


class TestWaiting:
    def test_what_has_not_started_is_late_once(self, ada: Any, watch: Watch) -> None:
        life = Life(ada, queued_at=ago(LATE_AFTER + 1))
        told(life("queued"))
        assert watch.watch(3) == ["late"]
        assert (life.row.state, life.row.late) == ("queued", True)

    def test_what_is_not_due_is_not_late(self, ada: Any, watch: Watch) -> None:
        told(Life(ada, queued_at=ago(LATE_AFTER - 10))("queued"))
        told(Life(ada, queued_at=ago(500))("queued", next_attempt_at=time.time() + 500))
        told(Life(ada, queued_at=ago(500))("started"))
        told(Life(ada, queued_at=ago(500))("retrying", next_attempt_at=time.time() + 500))
        assert watch.watch(3) == []

    def test_a_retry_past_its_time_is_late(self, ada: Any, watch: Watch) -> None:
        life = Life(ada, queued_at=ago(5_000))
        told(life("retrying", next_attempt_at=ago(LATE_AFTER + 1)))
        assert watch.watch(3) == ["late"]
        assert (life.row.state, life.row.late) == ("retrying", True)

    def test_what_waits_for_too_long_is_lost(self, ada: Any, watch: Watch) -> None:
        queued = Life(ada, queued_at=ago(QUEUE_LIMIT + 1))
        told(queued("queued"))
        retrying = Life(ada, queued_at=ago(2 * QUEUE_LIMIT))
        told(retrying("retrying", next_attempt_at=ago(QUEUE_LIMIT + 1)))
        assert watch.watch(3) == ["lost", "lost"]
        assert (queued.row.state, retrying.row.state) == ("lost", "lost")

    def test_what_was_interrupted_waits_since_it_started(self, ada: Any, watch: Watch) -> None:
        life = Life(ada, queued_at=ago(2 * QUEUE_LIMIT))
        told(life("started", at=ago(LATE_AFTER + 5), acks_late=True), life("retrying"))
        assert watch.watch(3) == ["late"]
        old = Life(ada, queued_at=ago(3 * QUEUE_LIMIT))
        told(old("started", at=ago(QUEUE_LIMIT + 5), acks_late=True), old("retrying"))
        assert watch.watch(3) == ["lost"]

    def test_what_no_worker_took_before_its_time_is_expired(self, ada: Any, watch: Watch) -> None:
        life = Life(ada, queued_at=ago(30))
        told(life("queued", expires_at=ago(LATE_AFTER + 1)))
        fresh = Life(ada, queued_at=ago(30))
        told(fresh("queued", expires_at=ago(LATE_AFTER - 10)))
        assert watch.watch(3) == ["expired"]
        assert (life.row.state, fresh.row.state) == ("expired", "queued")

    def test_a_forgotten_owners_run_is_left_alone(self, ada: Any, watch: Watch) -> None:
        from taskbell.models import Recipient

        told(Life(ada, queued_at=ago(LATE_AFTER + 1))("queued"))
        running(ada, worker())
        Recipient.objects.all().delete()
        assert watch.watch(LEASE + 2) == []
