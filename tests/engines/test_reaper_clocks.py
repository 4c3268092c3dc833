"""Waiting runs on real processes: called late and lost in time, never by a clock that was set, and taken back."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskbell.models import Log, Run
from tests.conftest import missing
from tests.engines import tasks
from tests.engines.conftest import LEASE
from tests.engines.tasks import LISTED
from tests.engines.worker import Owner, Worker, wait_for
from tests.servers.process import Unavailable
from tests.servers.project import Gateway, Project
from tests.servers.wall_clock import WallClock

pytestmark = pytest.mark.proof

LATE_AFTER = 3
# What a look each second, the tick and a busy machine take.
GRACE = 5
# Nobody takes tasks from it.
NOWHERE = {"queue": "nowhere"}
HOUR, DAY = 3_600, 86_400
YEARS = 10 * 365 * DAY

Make = Callable[[str], Project]


@pytest.fixture
def waiting(project: Make, broker: str) -> Callable[..., Project]:
    """A project in which runs are soon late, and lost after `QUEUE_LIMIT`."""

    def make(database: str, **settings: Any) -> Project:
        made = project(database)
        made.configure(TASKS=LISTED, LEASE=LEASE, LATE_AFTER=LATE_AFTER, **settings)
        made.env |= {"DJANGO_SETTINGS_MODULE": "tests.engines.settings", "TASKBELL_TEST_BROKER": broker}
        return made

    return make


@contextmanager
def by(project: Project, clock: WallClock) -> Iterator[None]:
    """Start processes by a clock of their own."""
    before = project.env
    project.env = before | clock.env
    try:
        yield
    finally:
        project.env = before


def clock_of(name: str, folder: Path) -> WallClock:
    try:
        return WallClock(folder, name)
    except Unavailable as error:
        missing(error)
        raise


def serve(project: Project) -> tuple[Gateway, Owner]:
    gateway = project.serve()
    return gateway, Owner(project, gateway)


def is_late(run: dict[str, Any]) -> bool:
    return bool(run["late"])


class TestWaiting:
    def test_what_nobody_takes_is_late_then_lost_and_taken_back_when_a_worker_comes(
        self, waiting: Callable[..., Project]
    ) -> None:
        limit = 8
        made = waiting("sqlite", QUEUE_LIMIT=limit)
        _, ada = serve(made)
        began = time.monotonic()
        task = ada.delay(tasks.succeed)
        ada.until(task, is_late, LATE_AFTER + GRACE)
        assert time.monotonic() - began >= LATE_AFTER
        ada.until(task, "lost", limit + GRACE)
        assert limit <= time.monotonic() - began
        worker = Worker(made, concurrency=1)
        try:
            ada.until(task, "succeeded")
        finally:
            worker.kill()
            ada.close()
        told = [(run["state"], run["late"]) for run in ada.events(task)]
        assert told == [
            ("queued", False), ("queued", True), ("lost", False), ("running", False), ("succeeded", False),
        ]  # fmt: skip

    def test_what_is_delivered_again_is_taken_back(self, waiting: Callable[..., Project]) -> None:
        """Killed while it ran, late to be tried again, given up, and then handed out again by the broker."""
        made = waiting("sqlite", QUEUE_LIMIT=6)
        made.env["TASKBELL_TEST_REDELIVERY"] = "1"
        _, ada = serve(made)
        worker = Worker(made, concurrency=1)
        task = ada.delay(tasks.sleep_late, 4)
        ada.until(task, "running")
        killed_at = time.monotonic()
        worker.kill()
        ada.until(task, "retrying", LEASE + GRACE)
        assert time.monotonic() - killed_at <= LEASE + GRACE
        ada.until(task, "lost", 6 + GRACE)
        successor = Worker(made, concurrency=1)
        try:
            ada.until(task, "succeeded", 60)
        finally:
            successor.kill()
            ada.close()
        told = [(run["state"], run["late"]) for run in ada.events(task)]
        assert [one for one in told if one[0] != "queued"] == [
            ("running", False), ("retrying", False), ("retrying", True), ("lost", False),
            ("running", False), ("succeeded", False),
        ]  # fmt: skip

    def test_a_retry_past_its_time_is_late(self, waiting: Callable[..., Project]) -> None:
        made = waiting("sqlite")
        _, ada = serve(made)
        worker = Worker(made, concurrency=1)
        task = ada.delay(tasks.once_more, LATE_AFTER + 2)
        ada.until(task, "retrying")
        worker.kill()
        began = time.monotonic()
        ada.until(task, is_late, 2 * LATE_AFTER + 2 + GRACE)
        ada.close()
        assert time.monotonic() - began >= 2 * LATE_AFTER, "not before its countdown is over"
        assert [run["state"] for run in ada.events(task) if run["state"] != "queued"] == [
            "running", "retrying", "retrying",
        ]  # fmt: skip


class TestGatewaysClock:
    """Half a minute of a gateway by whose clock it is another hour, day or year."""

    def test_it_is_set_to_and_fro(self, waiting: Callable[..., Project], tmp_path: Path) -> None:
        made = waiting("sqlite")
        clock = clock_of("the gateway", tmp_path)
        with by(made, clock):
            _, ada = serve(made)
        worker = Worker(made, concurrency=2)
        try:
            ended = ada.delay(tasks.succeed)
            ada.until(ended, "succeeded")
            running = ada.delay(tasks.sleep, 25)
            ada.until(running, "running")
            for seconds in (HOUR, 0, DAY, YEARS, 0, -HOUR, -DAY, 0):
                waits = ada.delay(tasks.spawned, countdown=1, **NOWHERE)
                ada.until(waits, "queued", 10)
                time.sleep(0.5)
                clock.set_by(seconds)
                time.sleep(2)
                assert [(run["state"], run["late"]) for run in ada.events(waits)] == [("queued", False)]
            # And the last of them is truly late.
            ada.until(waits, is_late, 1 + LATE_AFTER + GRACE)
            assert ada.states(running, 60) == ["running", "succeeded"]
            assert "lost" not in {run["state"] for events in ada.all_events().values() for run in events}
            # Nor does a clock that is set keep a true loss from being told in time.
            running = ada.delay(tasks.sleep, 60)
            ada.until(running, "running")
            clock.set_by(-YEARS)
            killed_at = time.monotonic()
            worker.kill()
            ada.until(running, "lost", LEASE + GRACE)
            assert time.monotonic() - killed_at <= LEASE + GRACE
        finally:
            worker.kill()
            ada.close()

    @pytest.mark.slow
    def test_ten_years_ahead_it_deletes_nothing_and_once_right_it_keeps_nothing_for_ten_years(
        self, waiting: Callable[..., Project], tmp_path: Path
    ) -> None:
        """One gateway for both: its prune comes every minute, so the clock is set for the time of one."""
        made = waiting("sqlite")
        clock = clock_of("the gateway", tmp_path)
        with by(made, clock):
            _, ada = serve(made)
        worker = Worker(made, concurrency=1)
        try:
            before = ada.delay(tasks.succeed)
            ada.until(before, "succeeded")
            time.sleep(2)
            clock.set_by(YEARS)
            time.sleep(62)
            # Her session is over by this clock, and so is her stream.
            ahead = ada.delay(tasks.succeed)
            wait_for(lambda: Run.objects.filter(task_id=str(ahead), state="succeeded").exists(), what="folded")
            assert {run.task_id for run in Run.objects.all()} == {str(before), str(ahead)}
            assert Log.objects.order_by("seq").values_list("seq", flat=True)[0] == 1
            clock.set_by(0)
            time.sleep(62)
            limit = time.time() + DAY
            assert all(run.since is not None and run.since.timestamp() < limit for run in Run.objects.all())
        finally:
            worker.kill()
            ada.close()

    def test_on_postgres_it_does_not_count(self, waiting: Callable[..., Project], tmp_path: Path) -> None:
        """All gateways date by the server's clock, so one that is a day ahead and one a day behind agree."""
        made = waiting("postgres")
        owners = []
        for seconds in (DAY, -DAY):
            clock = clock_of(f"gateway{seconds}", tmp_path)
            clock.set_by(seconds)
            with by(made, clock):
                owners.append(serve(made)[1])
        ada = owners[0]
        waits = ada.delay(tasks.spawned, countdown=2, **NOWHERE)
        time.sleep(1 + LATE_AFTER)
        assert [(run["state"], run["late"]) for run in ada.events(waits)] == [("queued", False)]
        ada.until(waits, is_late, 2 + GRACE)
        for owner in owners:
            owner.close()
        assert all(abs(row.sequenced_at.timestamp() - time.time()) < HOUR for row in Log.objects.all())


@pytest.mark.parametrize(
    "seconds", [-DAY, YEARS, pytest.param(-HOUR, marks=pytest.mark.slow), pytest.param(HOUR, marks=pytest.mark.slow)]
)
def test_the_clock_of_a_worker_is_wrong(waiting: Callable[..., Project], tmp_path: Path, seconds: int) -> None:
    """What it tells is dated by its clock; who waits is judged by the gateway's."""
    made = waiting("sqlite")
    _, ada = serve(made)
    clock = clock_of("the worker", tmp_path)
    clock.set_by(seconds)
    with by(made, clock):
        worker = Worker(made, concurrency=2)
    try:
        again, long = ada.delay(tasks.once_more, LATE_AFTER + 1), ada.delay(tasks.sleep, 2 * LEASE)
        assert ada.states(again) == ["running", "retrying", "running", "succeeded"]
        assert ada.states(long) == ["running", "succeeded"]
        # And while it works, too.
        long = ada.delay(tasks.sleep, LEASE + 2)
        ada.until(long, "running")
        clock.set_by(0)
        assert ada.states(long) == ["running", "succeeded"]
        assert not any(map(is_late, ada.events(again) + ada.events(long)))
    finally:
        worker.kill()
        ada.close()
