"""The reaper and what waits, by a clock that the test sets: what is late or lost, whatever clocks show."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import override_settings

from taskbell.models import Recipient
from taskbell.models import Run as RunRow
from taskbell.runs.reaper import REPEAT_SECONDS
from tests.runs.telling import Life, told
from tests.runs.watching import ALIAS, Watch, running, worker

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

LEASE, LATE_AFTER, QUEUE_LIMIT = 30, 60, 86_400


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(TASKBELL={"LEASE": LEASE, "LATE_AFTER": LATE_AFTER, "QUEUE_LIMIT": QUEUE_LIMIT}):
        yield


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
