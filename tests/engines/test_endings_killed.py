"""Endings that take a worker, a broker or a result backend with them: a stage each."""

import base64
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.result import AsyncResult

from taskbell.runs.reaper import INTERRUPTED
from tests.engines import tasks, ways_to_end
from tests.engines.conftest import LEASE, Stage
from tests.engines.project import app
from tests.engines.test_endings import NEW, OLD
from tests.engines.worker import Pool, Worker, endings_of, wait_for
from tests.servers.valkey import Valkey

MakeStage = Callable[..., Stage]

pytestmark = pytest.mark.proof

# Killed or frozen in the lease's last moment, and told within five seconds.
TOLD_WITHIN = LEASE + 5
# Without these two, kombu looks for what nobody acknowledged about every hundred seconds.
QUICK_REDELIVERY = {
    "broker_transport_options": {
        "visibility_timeout": 2, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
    }
}  # fmt: skip


@pytest.fixture(autouse=True)
def _empty(broker: str) -> None:
    """Take away what another test's worker did not acknowledge."""
    with redis.Redis.from_url(broker) as client:
        client.flushall()


def running(made: Stage, *started: AsyncResult) -> None:
    for task in started:
        made.ada.until(task, "running")


def successor(made: Stage, **options: object) -> Worker:
    made.worker = Worker(made.project, **options)  # type: ignore[arg-type]
    return made.worker


def test_row_22_a_task_without_memory_takes_its_worker_along(stage: MakeStage) -> None:
    """Celery takes no more tasks then, and ends when the children have; what they tell still arrives. 5.4 goes on."""
    made = stage("sqlite", concurrency=3)
    others = [made.ada.delay(tasks.sleep, 4), made.ada.delay(tasks.sleep_late, 4)]
    running(made, *others)
    task = made.ada.delay(ways_to_end.run_out_of_memory)
    assert made.ada.states(task) == ["running", "failed"]
    if OLD:
        assert made.ada.states(made.ada.delay(tasks.succeed)) == ["running", "succeeded"]
    else:
        assert made.worker.process.wait(30) != 0
    assert [made.ada.states(other) for other in others] == [["running", "succeeded"]] * 2


def test_row_22_a_thread_without_memory(stage: MakeStage) -> None:
    made = stage("sqlite", pool="threads", concurrency=3)
    task = made.ada.delay(ways_to_end.run_out_of_memory)
    assert made.ada.states(task) == ["running", "failed"]
    assert made.ada.states(made.ada.delay(tasks.succeed)) == ["running", "succeeded"]


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_row_24_and_25_the_worker_is_killed(stage: MakeStage, database: str, tmp_path: Path) -> None:
    """With early acknowledgement nobody has the task any more; with late, the broker hands it out again."""
    made = stage(database, celery=QUICK_REDELIVERY)
    lost = made.ada.delay(tasks.sleep, 3600)
    again = made.ada.delay(ways_to_end.sleep_once, str(tmp_path / "mark"), 3600)
    running(made, lost, again)
    made.worker.kill()
    assert made.ada.ending(lost, TOLD_WITHIN)["state"] == "lost"
    assert made.ada.until(again, "retrying", TOLD_WITHIN)[-1]["error"]["message"] == INTERRUPTED
    successor(made)
    assert made.ada.states(again, 30 if NEW else 150) == ["running", "retrying", "running", "succeeded"]
    assert endings_of(made.ada.events(lost)) == ["lost"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_row_26_warm_shutdown(stage: MakeStage, pool: Pool) -> None:
    """What runs is finished, and what waits is left to the next worker; threads of 5.4 finish that too."""
    made = stage("sqlite", pool=pool, concurrency=1)
    task = made.ada.delay(tasks.steps, 10, 0.2)
    running(made, task)
    waiting = made.ada.delay(tasks.succeed)
    made.worker.stop()
    assert made.ada.states(task) == ["running", "succeeded"]
    if not (OLD and pool == "threads"):
        assert endings_of(made.ada.events(waiting)) == []
        successor(made)
    assert made.ada.states(waiting) == ["running", "succeeded"]


SIGNALS = pytest.mark.parametrize(
    "signals", [[signal.SIGQUIT], [signal.SIGINT, signal.SIGINT]], ids=["quit", "interrupt-twice"]
)


def shut_down_cold(made: Stage, signals: list[signal.Signals]) -> None:
    """Two signals at once are one; and 5.4 does not hear the second any more once it waits for its tasks."""
    first, *others = signals
    made.worker.process.send_signal(first)
    for number in others:
        wait_for(lambda: "Hitting Ctrl+C again" in made.worker.output(), what="heard")
        made.worker.process.send_signal(number)
    made.worker.process.wait(30)


@SIGNALS
def test_row_27_and_28_cold_shutdown(stage: MakeStage, signals: list[signal.Signals], tmp_path: Path) -> None:
    made = stage("sqlite", celery=QUICK_REDELIVERY)
    again = made.ada.delay(ways_to_end.sleep_once, str(tmp_path / "mark"), 3600)
    lost = made.ada.delay(tasks.sleep, 3600)
    running(made, again, lost)
    shut_down_cold(made, signals)
    assert made.ada.ending(lost, TOLD_WITHIN)["state"] == "lost"
    assert made.ada.until(again, "retrying", TOLD_WITHIN)[-1]["error"]["message"] == INTERRUPTED
    successor(made)
    assert made.ada.states(again, 30 if NEW else 150) == ["running", "retrying", "running", "succeeded"]


@SIGNALS
def test_row_27_threads_outlive_a_cold_shutdown(stage: MakeStage, signals: list[signal.Signals]) -> None:
    """Celery calls them off and cannot stop them: they end as ever, or with the process, if that ends before."""
    made = stage("sqlite", pool="threads")
    task = made.ada.delay(tasks.sleep, 2 * LEASE + 2)
    running(made, task)
    shut_down_cold(made, signals)
    assert made.ada.states(task) == ["running", "succeeded" if made.worker.has_run(task) else "lost"]


@SIGNALS
def test_row_27_a_solo_task_fails_in_a_cold_shutdown(stage: MakeStage, signals: list[signal.Signals]) -> None:
    """Celery wants to stop it, cannot, and raises in its very midst. 5.4 waits until the task is done."""
    made = stage("sqlite", pool="solo")
    task = made.ada.delay(tasks.sleep, LEASE + 2 if OLD else 3600)
    running(made, task)
    shut_down_cold(made, signals)
    assert made.ada.states(task) == ["running", "succeeded" if OLD else "failed"]


def test_row_21_sys_exit_in_a_solo_pool(stage: MakeStage) -> None:
    """It ends the worker, which is the task's own process."""
    made = stage("sqlite", pool="solo")
    task = made.ada.delay(ways_to_end.exit_from_python)
    assert made.ada.states(task) == ["running", "failed"]
    assert made.worker.process.wait(30) != 0


def test_row_31_a_message_that_cannot_be_decoded(stage: MakeStage, broker: str) -> None:
    """Celery throws it away without a signal; its owner hears that it is late, and at last that it is lost."""
    made = stage("sqlite", settings={"LATE_AFTER": 1, "QUEUE_LIMIT": 4})
    task = made.ada.delay(tasks.succeed, queue="nobody reads this")
    with redis.Redis.from_url(f"{broker}/0") as client:
        message = json.loads(client.lpop("nobody reads this"))
        message["body"] = base64.b64encode(b"{").decode()
        client.lpush("celery", json.dumps(message))
    wait_for(lambda: "Can't decode message body" in made.worker.output(), what="thrown away")
    assert made.ada.states(task) == ["lost"]
    assert any(event["late"] for event in made.ada.events(task))


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_row_40_the_result_backend_is_gone(stage: MakeStage, pool: Pool) -> None:
    backend = Valkey().start()
    try:
        celery = {
            "result_backend": backend.url,
            "result_backend_transport_options": {"retry_policy": {"max_retries": 1}},
        }
        made = stage("sqlite", pool=pool, celery=celery)
        task = made.ada.delay(tasks.sleep, 2)
        running(made, task)
        backend.stop()
        assert made.ada.states(task) == ["running", "failed"]
        backend.start()
        assert made.ada.states(made.ada.delay(tasks.succeed)) == ["running", "succeeded"]
        assert endings_of(made.ada.events(task)) == ["failed"]
    finally:
        backend.remove()


def test_the_broker_is_killed(stage: MakeStage, own_broker: Valkey) -> None:
    """What runs ends as ever. What waits goes on where the broker remembers it, and is late and lost where not."""
    # The broker gives back what a worker had received and not acknowledged; a task must not run longer than this.
    redelivery = {"broker_transport_options": QUICK_REDELIVERY["broker_transport_options"] | {"visibility_timeout": 6}}
    limits = {"LATE_AFTER": 1, "QUEUE_LIMIT": 150 if own_broker.persistent else 10}
    address = own_broker.url.rpartition("/")[0]
    made = stage("sqlite", broker=address, settings=limits, celery=redelivery)

    def delay(task: Any, *args: Any) -> AsyncResult:
        with app.connection_for_write(own_broker.url) as connection:
            return made.ada.delay(task, *args, connection=connection)

    early, late = delay(tasks.sleep, 3), delay(tasks.sleep_late, 3)
    running(made, early, late)
    waiting = delay(tasks.succeed)
    made.ada.until(waiting, "queued")
    own_broker.stop()
    own_broker.start()
    assert made.ada.states(early) == ["running", "succeeded"]
    assert made.ada.states(late) == ["running", "succeeded"]
    assert made.ada.states(waiting, 30 if NEW else 150) == (
        ["running", "succeeded"] if own_broker.persistent else ["lost"]
    )
    assert made.ada.states(delay(tasks.succeed)) == ["running", "succeeded"]
    assert [endings_of(made.ada.events(task)) for task in (early, late)] == [["succeeded"]] * 2


def test_an_eager_task_ends_with_the_child_that_runs_it(stage: MakeStage, tmp_path: Path) -> None:
    made = stage("sqlite")
    task = made.ada.delay(ways_to_end.hold_an_eager_one, str(tmp_path / "mark"))
    assert made.ada.states(task) == ["running", "failed"]
    inner = made.ada.find(lambda run: run["name"].endswith("inner"))
    assert made.ada.states(inner["task_id"]) == ["running", "lost"]
