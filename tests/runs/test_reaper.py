"""The reaper and workers, by a clock that the test sets: who is dead, and who is never accused."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import QuerySet
from django.test import override_settings

from taskbell.models import Worker
from taskbell.runs.beats import SLOW_SECONDS, STALL_SECONDS
from taskbell.runs.probes import Probes
from taskbell.runs.reaper import INTERRUPTED
from taskbell.runs.states import Fact, Run
from taskbell.testing import deliver
from tests.runs.telling import Life, told
from tests.runs.watching import ALIAS, Watch, running, worker

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

LEASE = 30


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(TASKBELL={"LEASE": LEASE}):
        yield


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
