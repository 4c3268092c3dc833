"""The reaper, by a clock that the test sets: who is dead, what is late, and who is never accused."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import QuerySet
from django.test import override_settings

from taskbell.models import Recipient, Worker
from taskbell.models import Run as RunRow
from taskbell.runs.beats import SLOW_SECONDS, STALL_SECONDS
from taskbell.runs.probes import Probes
from taskbell.runs.reaper import INTERRUPTED, REPEAT_SECONDS
from taskbell.runs.states import Fact, Run
from taskbell.testing import deliver
from tests.runs.telling import Life, told
from tests.runs.watching import ALIAS, Watch

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

LEASE, LATE_AFTER, QUEUE_LIMIT = 30, 60, 86_400


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(TASKBELL={"LEASE": LEASE, "LATE_AFTER": LATE_AFTER, "QUEUE_LIMIT": QUEUE_LIMIT}):
        yield


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A reaper by whose clock runs are folded, too."""
    watch = Watch()
    monkeypatch.setattr("taskbell.runs.fold.read_clock", watch.wall)
    return watch


def worker(**values: Any) -> Worker:
    return Worker.objects.create(**({"id": uuid.uuid4(), "name": "celery@here", "beat": 1} | values))


def running(ada: Any, by: Worker | None, **values: Any) -> Life:
    life = Life(ada)
    told(life("started", worker=str(by.id) if by else None, **values))
    return life


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

    def test_what_was_to_be_cancelled_is(self, ada: Any, watch: Watch) -> None:
        life = running(ada, worker())
        told(life("cancelling"))
        assert watch.watch(LEASE + 1) == ["cancelled"]
        assert life.row.state == "cancelled"
        told(life("started"), life("retrying"))
        assert life.row.state == "cancelled"

    def test_what_was_to_be_cancelled_and_lives_after_all_ends_as_it_does(self, ada: Any, watch: Watch) -> None:
        life = running(ada, worker())
        told(life("cancelling"))
        assert watch.watch(LEASE + 1) == ["cancelled"]
        [ending] = told(life("succeeded", result=7))
        assert (ending["state"], ending["result"]) == ("succeeded", 7)

    def test_what_acknowledges_late_and_was_to_be_cancelled_will_be_refused(self, ada: Any, watch: Watch) -> None:
        life = running(ada, worker(), acks_late=True)
        told(life("cancelling"))
        assert watch.watch(LEASE + 1) == ["retrying"]
        assert life.row.cancel_requested_at is not None

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
    def test_while_nothing_can_be_written(self, ada: Any, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
        """Reading goes on, so the beat is seen to stand still; it does because no worker can write one."""
        running(ada, worker())
        watch.watch(LEASE / 2)
        with monkeypatch.context() as patch:
            patch.setattr(QuerySet, "update", refuse)
            for _ in range(2 * LEASE):
                watch.now += 1
                with suppress(OperationalError):
                    assert watch.step() == []
        # The last try to write may be half a lease ago; in the other half a living worker beats three times.
        assert watch.watch(LEASE / 2) == []
        assert watch.watch(LEASE / 2 + 1) == ["lost"]

    @pytest.mark.parametrize("seconds", [SLOW_SECONDS + 1, STALL_SECONDS + 1, 2 * LEASE])
    def test_while_the_database_answers_slowly(
        self, ada: Any, watch: Watch, monkeypatch: pytest.MonkeyPatch, seconds: float
    ) -> None:
        """The time for which a look waits is time in which no beat could be written either."""
        running(ada, worker())
        with monkeypatch.context() as patch:
            read = Worker.objects.using

            def slowly(alias: str) -> Any:
                watch.now += seconds / 2  # twice a look: one try to write, one read
                return read(alias)

            watch.watch(LEASE - 4)
            patch.setattr(Worker.objects, "using", slowly)
            assert watch.watch(2) == []
        assert watch.watch(1) == []
        assert watch.watch(LEASE + 1) == ["lost"]

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
            patch.setattr("taskbell.runs.beats.Worker.objects", Away())
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


def refuse(queryset: Any, **values: Any) -> int:
    raise OperationalError("database is locked")


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
        life = Life(ada)
        told(life("queued"))
        assert watch.wait(LATE_AFTER - 1) == []
        assert watch.wait(2) == ["late"]
        assert watch.watch(3) == []
        assert (life.row.state, life.row.late) == ("queued", True)

    def test_what_is_not_due_is_not_late(self, ada: Any, watch: Watch) -> None:
        told(Life(ada)("queued", next_attempt_at=time.time() + 500))
        told(Life(ada)("started"))
        told(Life(ada)("retrying", next_attempt_at=time.time() + 500))
        assert watch.wait(LATE_AFTER + 400) == []
        assert watch.wait(110) == ["late", "late"]

    def test_a_retry_past_its_time_is_late(self, ada: Any, watch: Watch) -> None:
        life = Life(ada)
        told(life("retrying", next_attempt_at=time.time() + 10))
        assert watch.wait(LATE_AFTER + 5) == []
        assert watch.wait(10) == ["late"]
        assert (life.row.state, life.row.late) == ("retrying", True)

    def test_what_waits_for_too_long_is_lost(self, ada: Any, watch: Watch) -> None:
        queued, retrying = Life(ada), Life(ada)
        told(queued("queued"), retrying("retrying", next_attempt_at=time.time() + 10))
        assert watch.wait(QUEUE_LIMIT - 10) == ["late", "late"]
        assert watch.wait(12) == ["lost"]
        assert queued.row.state == "lost"
        assert watch.wait(12) == ["lost"]
        assert retrying.row.state == "lost"

    def test_what_runs_where_nothing_beats_is_lost_as_late(self, ada: Any, watch: Watch) -> None:
        """An eager task whose process was killed."""
        life = running(ada, None)
        assert watch.wait(QUEUE_LIMIT - 1) == []
        assert watch.wait(2) == ["lost"]
        assert life.row.state == "lost"

    def test_each_wait_is_counted_from_its_own_beginning(self, ada: Any, watch: Watch) -> None:
        life = Life(ada)
        told(life("queued"))
        assert watch.wait(LATE_AFTER + 1) == ["late"]
        told(life("started", acks_late=True), life("retrying"))
        since = life.row.since
        assert watch.wait(QUEUE_LIMIT) == ["late"]
        assert life.row.since == since, "to be called late is no new beginning"
        assert watch.wait(1) == ["lost"]

    def test_a_new_attempt_that_is_told_while_waiting_waits_anew(self, ada: Any, watch: Watch) -> None:
        life = Life(ada)
        told(life("retrying"))
        RunRow.objects.update(since=datetime(2000, 1, 1, tzinfo=UTC))
        told(life("retrying"), life("late"))
        assert life.row.since.year == 2000
        told(life("retrying", attempt=2))
        assert life.row.since.year > 2000

    def test_what_no_worker_took_before_its_time_is_expired(self, ada: Any, watch: Watch) -> None:
        life, fresh = Life(ada), Life(ada)
        told(life("queued", expires_at=time.time() + 5), fresh("queued", expires_at=time.time() + 50))
        assert watch.wait(LATE_AFTER + 1) == ["late", "late"]
        assert watch.wait(10) == ["expired"]
        assert (life.row.state, fresh.row.state) == ("expired", "queued")

    def test_a_forgotten_owners_run_is_left_alone(self, ada: Any, watch: Watch) -> None:
        told(Life(ada)("queued"))
        running(ada, worker())
        Recipient.objects.all().delete()
        assert watch.watch(LEASE + 2) == []
        assert watch.wait(LATE_AFTER) == []

    def test_what_nobody_folds_is_not_told_over_and_over(self, ada: Any, watch: Watch) -> None:
        told(Life(ada)("queued"))
        assert watch.wait(0) == []
        watch.now += LATE_AFTER + 1
        assert [watch.reaper.step(ALIAS) for _ in range(5)] == [1, 0, 0, 0, 0]
        watch.now += REPEAT_SECONDS
        assert watch.reaper.step(ALIAS) == 1


#: How far clocks are set in these tests, and were seen to be set in the world.
STEPS = pytest.mark.parametrize("seconds", [-3_600, 3_600, 86_400, -86_400, 10 * 365 * 86_400])


class TestWallClocks:
    """Nobody is accused because a clock was set; who is truly late is told so, if sometimes later."""

    @STEPS
    def test_the_clock_of_the_gateway_is_set_while_runs_wait(self, ada: Any, watch: Watch, seconds: int) -> None:
        told(Life(ada)("queued"))
        told(Life(ada)("queued", expires_at=time.time() + 600))
        told(Life(ada)("retrying", next_attempt_at=time.time() + 50))
        assert watch.wait(LATE_AFTER / 2) == []
        watch.set_by += seconds
        assert watch.wait(LATE_AFTER / 2 - 1) == []
        # A clock that is behind leaves nobody waiting for ever, only until it is right again, or that much later.
        watch.set_by = max(0, watch.set_by)
        assert sorted(watch.wait(2) + watch.wait(LATE_AFTER)) == ["late", "late", "late"]

    @STEPS
    def test_the_gateways_clock_is_set_to_and_fro(self, ada: Any, watch: Watch, seconds: int) -> None:
        told(Life(ada)("queued"))
        assert watch.step() == []
        for _ in range(LATE_AFTER - 5):
            watch.set_by = seconds - watch.set_by
            watch.now += 1
            assert watch.step() == []
        watch.set_by = 0
        assert watch.wait(10) + watch.wait(LATE_AFTER) == ["late"]

    @STEPS
    def test_the_writers_clock_is_wrong(self, ada: Any, watch: Watch, seconds: int) -> None:
        """It waits for its turn by our clock, however the writer's was set when it named its times."""
        theirs = time.time() + seconds
        told(Life(ada, queued_at=theirs)("queued", at=theirs))
        told(Life(ada, queued_at=theirs)("queued", at=theirs, expires_at=theirs + 300))
        told(Life(ada, queued_at=theirs)("retrying", at=theirs, next_attempt_at=theirs + 200))
        assert watch.wait(LATE_AFTER - 1) == []
        assert watch.wait(2) == ["late", "late"]
        later = watch.wait(200) + watch.wait(LATE_AFTER + 50)
        # Times that are named by a clock that is ahead are far away by ours too, and workers with right clocks wait.
        assert sorted(later) == (["expired", "late"] if seconds < 0 else [])

    def test_a_clock_that_is_slewed_is_followed(self, ada: Any, watch: Watch) -> None:
        told(Life(ada)("queued"))

        def slew() -> None:
            watch.set_by += 0.08  # the fastest that chrony does

        assert watch.watch(LATE_AFTER * 0.9, slew) == []
        assert watch.watch(LATE_AFTER * 0.2, slew) == ["late"]

    @STEPS
    def test_the_clock_is_set_while_the_reaper_is_frozen(self, ada: Any, watch: Watch, seconds: int) -> None:
        told(Life(ada)("queued"))
        assert watch.step() == []
        watch.set_by += seconds
        assert watch.wait(LATE_AFTER - 1) == []
