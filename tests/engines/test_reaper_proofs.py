"""Nobody is told that their task is lost while its worker lives: whatever is frozen, slow, locked, cut or away."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest
from django.db import connection

from taskbell.models import Worker as WorkerRow
from tests.conftest import missing
from tests.engines import tasks
from tests.engines.conftest import LEASE, Stage
from tests.engines.outages import cut_connections, frozen, locked
from tests.engines.worker import Worker, endings_of, wait_for
from tests.servers.postgres import Postgres
from tests.servers.process import Unavailable
from tests.servers.project import Project, migrate

MakeStage = Callable[..., Stage]

pytestmark = pytest.mark.proof

# What promise 9 allows beside the lease.
GRACE = 5
# Three times as long as a worker is given to show that it lives.
OUTAGE = 10


@contextmanager
def at_work(made: Stage, seconds: float) -> Iterator[None]:
    """Do something while a task runs, for `seconds` longer than that takes; its owner is told nothing but the truth."""
    task = made.ada.delay(tasks.sleep, seconds)
    made.ada.until(task, "running")
    yield
    assert made.ada.states(task, seconds + 30) == ["running", "succeeded"]


@contextmanager
def paused(worker: Worker) -> Iterator[None]:
    """Freeze a worker's whole tree."""
    tree = [psutil.Process(worker.process.pid), *worker.children()]
    for process in tree:
        process.suspend()
    try:
        yield
    finally:
        for process in tree:
            process.resume()


class TestNoFalseLost:
    def test_a_frozen_gateway(self, shared: Stage) -> None:
        with at_work(shared, 3 * LEASE):
            shared.gateway.pause()
            time.sleep(2 * LEASE)
            shared.gateway.resume()

    def test_a_worker_that_is_frozen_for_less_than_a_lease(self, shared: Stage) -> None:
        with at_work(shared, LEASE):
            with paused(shared.worker):
                time.sleep(LEASE * 0.6)

    def test_a_worker_that_beats_slowly(self, shared: Stage) -> None:
        """It hardly gets to run, as on a machine that swaps."""
        with at_work(shared, 2 * LEASE):
            for _ in range(3):
                with paused(shared.worker):
                    time.sleep(LEASE * 0.6)
                time.sleep(0.2)

    def test_a_worker_whose_row_is_deleted(self, shared: Stage) -> None:
        with at_work(shared, 2 * LEASE):
            for _ in range(4):
                WorkerRow.objects.all().delete()
                wait_for(WorkerRow.objects.exists, what="registered again")
                time.sleep(LEASE / 3)

    def test_a_database_that_is_away(self, shared: Stage, postgres: Postgres) -> None:
        with at_work(shared, OUTAGE + LEASE):
            with locked(shared.project.address) if connection.vendor == "sqlite" else frozen(postgres):
                time.sleep(OUTAGE)

    def test_connections_that_are_cut(self, shared: Stage, postgres: Postgres) -> None:
        """A pooler that restarts, an administrator, a firewall."""
        if connection.vendor == "sqlite":
            pytest.skip("SQLite has no connections to cut")
        with at_work(shared, 3 * LEASE):
            assert cut_connections(postgres, shared.project.address, 2 * LEASE) > 4
            connection.close()


@pytest.mark.slow
class TestAMinute:
    def test_with_the_database_away(self, shared: Stage, postgres: Postgres) -> None:
        with at_work(shared, 60 + LEASE):
            with locked(shared.project.address) if connection.vendor == "sqlite" else frozen(postgres):
                time.sleep(60)


class TestStopped:
    """The server is killed, stays away, and is started again."""

    @pytest.fixture
    def server(self) -> Iterator[Postgres]:
        try:
            server = Postgres().start()
        except Unavailable as error:
            missing(error)
        yield server
        server.remove()

    @pytest.mark.parametrize("seconds", [OUTAGE, pytest.param(60, marks=pytest.mark.slow)])
    def test_nobody_is_lost_and_who_dies_afterwards_is(
        self,
        server: Postgres,
        broker: str,
        tmp_path_factory: pytest.TempPathFactory,
        django_db_blocker: "pytest.FixtureRequest",
        seconds: float,
    ) -> None:
        address = server.fresh()
        migrate(address)
        project = Project(tmp_path_factory.mktemp("stopped"), address)
        with django_db_blocker.unblock():  # type: ignore[attr-defined]
            project.attach()
            try:
                made = Stage(project, broker)
                with at_work(made, seconds + LEASE):
                    server.kill()
                    time.sleep(seconds)
                    server.start()
                    connection.close()
                assert_lost_in_time(made)
                made.close()
            finally:
                project.remove()


def assert_lost_in_time(made: Stage) -> None:
    """Kill the worker, and have its run told lost once, within the lease and five seconds."""
    task = made.ada.delay(tasks.sleep, 60)
    made.ada.until(task, "running")
    killed_at = time.monotonic()
    made.worker.kill()
    assert made.ada.ending(task, LEASE + GRACE)["state"] == "lost"
    assert time.monotonic() - killed_at <= LEASE + GRACE
    time.sleep(LEASE)
    assert endings_of(made.ada.events(task)) == ["lost"]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_several_reapers_tell_a_loss_once(stage: MakeStage, database: str) -> None:
    """Three look on; one was frozen meanwhile, and tells what it saw after that."""
    made = stage(database, concurrency=1)
    others = [made.project.serve(), made.project.serve()]
    time.sleep(LEASE)
    others[0].pause()
    assert_lost_in_time(made)
    others[0].resume()
    time.sleep(LEASE)
    assert [endings_of(events) for events in made.ada.all_events().values()] == [["lost"]]


def test_a_reaper_that_starts_in_the_middle_of_a_lease_begins_anew(stage: MakeStage) -> None:
    made = stage("sqlite", concurrency=1)
    task = made.ada.delay(tasks.sleep, 60)
    made.ada.until(task, "running")
    made.worker.kill()
    time.sleep(LEASE * 0.7)
    made.gateway.kill()
    made.gateway.wait()
    began = time.monotonic()
    made.gateway = made.project.serve()
    made.ada.come_back(made.gateway)
    assert made.ada.ending(task, LEASE + GRACE)["state"] == "lost"
    assert LEASE <= time.monotonic() - began <= LEASE + GRACE
    assert made.ada.states(task) == ["running", "lost"]


def test_the_result_of_an_earlier_task_of_the_same_id_is_not_believed(stage: MakeStage) -> None:
    """Callers use ids again; and Celery keeps a stored success, whatever becomes of the second."""
    made = stage("sqlite", concurrency=1)
    made.ada.states(made.ada.delay(tasks.succeed, task_id="again"))
    made.ada.delay(tasks.sleep, 60, task_id="again")
    made.ada.until("again", lambda run: run["state"] == "running" and run["name"].endswith("sleep"))
    made.worker.kill()
    made.ada.until("again", "lost", LEASE + GRACE)


class TestTakenBack:
    """Lost is what is believed: the worker had not beaten for a lease. What really became of the task is told."""

    def test_a_worker_that_was_frozen_for_longer(self, stage: MakeStage) -> None:
        made = stage("sqlite", concurrency=1)
        task = made.ada.delay(tasks.sleep, LEASE)
        made.ada.until(task, "running")
        with paused(made.worker):
            assert made.ada.ending(task, LEASE + GRACE)["state"] == "lost"
        made.ada.until(task, "succeeded")
        assert made.ada.states(task) == ["running", "lost", "succeeded"]
        # It beats again, so what it does next is not lost.
        with at_work(made, 2 * LEASE):
            pass

    def test_code_that_lets_no_other_thread_run(self, stage: MakeStage) -> None:
        """In a solo pool the beat is such another thread. A child of a prefork pool is another process."""
        made = stage("sqlite", pool="solo")
        short, long = (made.ada.delay(tasks.hold_interpreter, seconds) for seconds in (LEASE * 0.6, 2 * LEASE))
        assert made.ada.states(short) == ["running", "succeeded"]
        made.ada.until(long, "succeeded")
        assert made.ada.states(long) == ["running", "lost", "succeeded"]
        made.worker.stop()
        made.worker = Worker(made.project, concurrency=1)
        assert made.ada.states(made.ada.delay(tasks.hold_interpreter, 2 * LEASE)) == ["running", "succeeded"]
