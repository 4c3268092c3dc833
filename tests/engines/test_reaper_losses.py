"""A true loss is told once and in time, by however many reapers; one that was none is taken back."""

import time
from collections.abc import Callable, Iterator

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker

from tests.conftest import missing
from tests.engines import tasks
from tests.engines.conftest import LEASE, Stage
from tests.engines.outages import OUTAGE, at_work, paused
from tests.engines.worker import Worker, endings_of
from tests.servers.postgres import Postgres
from tests.servers.process import Unavailable
from tests.servers.project import Project, migrate

MakeStage = Callable[..., Stage]

pytestmark = pytest.mark.proof

# What promise 9 allows beside the lease.
GRACE = 5


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
        django_db_blocker: DjangoDbBlocker,
        seconds: float,
    ) -> None:
        address = server.fresh()
        migrate(address)
        project = Project(tmp_path_factory.mktemp("stopped"), address)
        with django_db_blocker.unblock():
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
    time.sleep(LEASE * 0.3)
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
