"""Workers that die, freeze and end, and databases that are away: everybody is told, and no task waits."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

import pytest
from django.db import transaction

from taskbell import for_user
from taskbell.models import Run
from taskbell.runs.children import CHILD_WAIT
from tests.engines import tasks
from tests.engines.conftest import LEASE, Stage
from tests.engines.outages import frozen, locked
from tests.engines.worker import Owner, Pool, Worker, endings_of, lines, wait_for
from tests.servers.postgres import Postgres

MakeStage = Callable[..., Stage]

pytestmark = pytest.mark.proof


def assert_each_ended_once(ada: Owner, expected: str, told: list[str], timeout: float = 60) -> None:
    for task in told:
        ada.ending(task, timeout)
    endings = {task: endings_of(ada.events(task)) for task in told}
    assert {task: states for task, states in endings.items() if states != [expected]} == {}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_killed_worker_is_told_within_the_lease_and_five_seconds(stage: MakeStage, database: str) -> None:
    made = stage(database)
    lost, again = made.ada.delay(tasks.sleep, 60), made.ada.delay(tasks.sleep_late, 60)
    for task in (lost, again):
        made.ada.until(task, "running")
    made.worker.kill()
    killed_at = time.monotonic()
    assert made.ada.ending(lost, LEASE + 5)["state"] == "lost"
    retrying = made.ada.until(again, "retrying", LEASE + 5)[-1]
    assert time.monotonic() - killed_at <= LEASE + 5
    assert retrying["error"]["message"] == "Interrupted; it will be tried again."
    assert retrying["next_attempt_at"] is None


def test_a_worker_that_lives_is_never_called_dead(stage: MakeStage) -> None:
    """Its tasks outlive the lease twice, on a solo pool too, where nothing but the writer's own thread can beat."""
    made = stage("sqlite", pool="solo")
    task = made.ada.delay(tasks.sleep, 2 * LEASE + 1)
    assert made.ada.states(task) == ["running", "succeeded"]


def test_the_ending_is_found_where_the_queue_keeps_it(stage: MakeStage) -> None:
    """The worker dies with the ending in its memory, because the database is locked; the result backend knows it."""
    made = stage("sqlite")
    task = made.ada.delay(tasks.sleep, 1)
    made.ada.until(task, "running")
    with locked(made.project.address):
        wait_for(lambda: made.worker.has_run(task), what="run")
        made.worker.kill()
    assert made.ada.states(task) == ["running", "succeeded"]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_every_pool_tells(stage: MakeStage, pool: Pool) -> None:
    made = stage("sqlite", pool=pool)
    ada = made.ada
    told = {
        ada.delay(tasks.steps, 4, 0.3): ["running", "succeeded"],
        ada.delay(tasks.fail): ["running", "failed"],
        ada.delay(tasks.twice): ["running", "retrying", "running", "retrying", "running", "succeeded"],
        ada.delay(tasks.fork_and_write): ["running", "succeeded"],
        ada.delay(tasks.spawn): ["running", "succeeded"],
    }
    assert {task: ada.states(task) for task in told} == told
    assert [event["done"] for event in ada.events(next(iter(told)))][-1] == 4


def test_a_warm_shutdown_tells_what_was_at_hand(stage: MakeStage) -> None:
    made = stage("sqlite")
    task = made.ada.delay(tasks.steps, 10, 0.2)
    made.ada.until(task, "running")
    made.worker.stop()
    assert made.ada.ending(task, 10)["state"] == "succeeded"


def test_a_child_waits_no_longer_than_a_tenth_of_a_second_for_a_frozen_main_process(
    stage: MakeStage, tmp_path: Path
) -> None:
    made = stage("sqlite", concurrency=4, settings={"PROGRESS_RATE": 1_000_000})
    go, files = tmp_path / "go", [tmp_path / f"took-{n}" for n in range(4)]
    told = [made.ada.delay(tasks.time_facts, str(file), str(go), 2.0) for file in files]
    for task in told:
        made.ada.until(task, "running")
    made.worker.process.pause()
    try:
        go.touch()
        wait_for(lambda: all(file.exists() and file.read_text() for file in files), what="through")
    finally:
        made.worker.process.resume()
    took = [float(one) for file in files for one in file.read_text().split()]
    # The kernel's queue is full after a while; then each report waits its tenth of a second, and for one of two cores.
    waited = [seconds for seconds in took if seconds > CHILD_WAIT / 2]
    # The median, because on two busy cores anything may now and then be woken late.
    assert 0.9 * CHILD_WAIT < median(waited) < 1.5 * CHILD_WAIT
    assert_each_ended_once(made.ada, "succeeded", [task.id for task in told])


def test_a_web_transaction_that_stays_open_does_not_hold_the_task(stage: MakeStage) -> None:
    """On SQLite it would: there is one write lock, and the view has it."""
    made = stage("postgres")
    with transaction.atomic():
        task = made.ada.delay(tasks.succeed)
        began = time.monotonic()
        made.ada.until(task, "succeeded", 3)
        assert time.monotonic() - began < 3
        time.sleep(max(0.0, 3 - (time.monotonic() - began)))
    time.sleep(0.5)
    assert made.ada.states(task) == ["running", "succeeded"]


def test_an_account_that_is_not_committed_yet_misses_nothing_of_its_task(stage: MakeStage) -> None:
    """The worker is quicker than the transaction that creates the account and enqueues the task."""
    made = stage("postgres")
    with transaction.atomic():
        bob = made.project.person("bob")
        with for_user(bob):
            task = tasks.steps.delay(3)
        wait_for(lambda: made.worker.has_run(task), what="run")
        time.sleep(2)
    wait_for(lambda: Run.objects.filter(task_id=str(task), state="succeeded").exists(), what="told", timeout=10)
    assert Run.objects.get(task_id=str(task)).done == 3


def tasks_run_on(made: Stage, frozen: AbstractContextManager[object], seconds: float, path: Path) -> None:
    """Tasks run while the database does not answer, and everything but progress is told afterwards."""
    count = int(seconds / 0.2)
    told = [made.ada.delay(tasks.note, str(path), 0.2).id for _ in range(count)]
    made.ada.until(told[0], "running")
    with frozen:
        time.sleep(seconds)
        ran = lines(path)
    # Two children at 0.2 s each could run all of them twice over.
    assert ran >= count * 0.9, f"{ran} of {count} tasks ran while the database was frozen"
    assert_each_ended_once(made.ada, "succeeded", told)


def test_with_sqlite_locked_tasks_run_on(stage: MakeStage, tmp_path: Path) -> None:
    made = stage("sqlite")
    tasks_run_on(made, locked(made.project.address), 5, tmp_path / "notes")


def test_with_postgres_frozen_tasks_run_on(stage: MakeStage, postgres: Postgres, tmp_path: Path) -> None:
    made = stage("postgres")
    tasks_run_on(made, frozen(postgres), 5, tmp_path / "notes")


@pytest.mark.slow
def test_with_sqlite_locked_for_a_minute_tasks_run_on(stage: MakeStage, tmp_path: Path) -> None:
    made = stage("sqlite")
    tasks_run_on(made, locked(made.project.address), 60, tmp_path / "notes")


@pytest.mark.slow
def test_with_postgres_frozen_for_a_minute_tasks_run_on(stage: MakeStage, postgres: Postgres, tmp_path: Path) -> None:
    made = stage("postgres")
    tasks_run_on(made, frozen(postgres), 60, tmp_path / "notes")


def test_eight_children_with_many_quick_tasks_on_sqlite(stage: MakeStage) -> None:
    made = stage("sqlite", concurrency=8)
    count = 200
    with for_user(made.ada.user):
        told = [tasks.write_and_step.delay(number, 20).id for number in range(count * 8)]
    assert_each_ended_once(made.ada, "succeeded", told, timeout=120)
    assert "database is locked" not in made.worker.output()
    assert "Traceback" not in made.worker.output()


def test_a_second_worker_takes_over_the_beat(stage: MakeStage) -> None:
    """A restarted worker has the same name and another id, so it does not beat for the dead one's runs."""
    made = stage("sqlite", concurrency=1)
    task = made.ada.delay(tasks.sleep, 60)
    made.ada.until(task, "running")
    made.worker.kill()
    successor = Worker(made.project, concurrency=1)
    try:
        assert made.ada.ending(task, LEASE + 5)["state"] == "lost"
        assert made.ada.ending(made.ada.delay(tasks.succeed))["state"] == "succeeded"
    finally:
        successor.kill()
