"""Cancelling where no signal reaches a task, where no worker was there, and where one dies: a stage each."""

import time
from collections.abc import Callable

import pytest

from tests.engines import tasks
from tests.engines.conftest import LEASE, Stage
from tests.engines.worker import Pool, Worker
from tests.servers.valkey import Valkey

MakeStage = Callable[..., Stage]

pytestmark = [pytest.mark.proof, pytest.mark.urls("tests.engines.site.api")]


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_what_cannot_be_stopped_runs_to_its_end(stage: MakeStage, pool: Pool) -> None:
    made = stage("sqlite", pool=pool, concurrency=1)
    ada = made.ada
    task, waiting = ada.delay(tasks.sleep, 4), ada.delay(tasks.succeed, countdown=3600)
    ada.until(task, "running")
    ada.until(waiting, "queued")
    assert ada.cancel(task)["cancelling"]
    assert ada.cancel(waiting)["cancelling"]
    ending = ada.ending(task)
    assert (ending["state"], ending["cancelling"]) == ("succeeded", False)
    assert ada.ending(waiting)["state"] == "cancelled"
    assert "Traceback" not in made.worker.output()


def test_what_was_cancelled_while_no_worker_was_there_is_refused_by_the_next(stage: MakeStage) -> None:
    made = stage("sqlite")
    made.worker.kill()
    task = made.ada.delay(tasks.sleep, 60)
    made.ada.until(task, "queued")
    assert made.ada.cancel(task)["cancelling"]
    made.worker = Worker(made.project)
    assert made.ada.ending(task)["state"] == "cancelled"


def test_what_was_cancelled_and_lost_its_worker_is_cancelled(stage: MakeStage) -> None:
    """Nobody works on it any more, and nobody will; that is what was asked for."""
    made = stage("sqlite")
    lost, again = made.ada.delay(tasks.sleep, 60), made.ada.delay(tasks.sleep_late, 60)
    for task in (lost, again):
        made.ada.until(task, "running")
    made.gateway.pause()  # so that no worker hears of the wish
    try:
        for task in (lost, again):
            assert made.ada.cancel(task)["cancelling"]
        made.worker.kill()
    finally:
        made.gateway.resume()
    assert made.ada.ending(lost, LEASE + 10)["state"] == "cancelled"
    retrying = made.ada.until(again, "retrying", LEASE + 10)[-1]
    assert retrying["cancelling"]


def test_a_broker_that_hangs_holds_up_neither_the_wish_nor_the_gateway(
    stage: MakeStage, valkey_of_tasks: Valkey
) -> None:
    made = stage("sqlite")
    tasks_of_ada = [made.ada.delay(tasks.sleep, 60) for _ in range(2)]
    for task in tasks_of_ada:
        made.ada.until(task, "running")
    valkey_of_tasks.pause()
    try:
        for task in tasks_of_ada:
            assert made.ada.cancel(task)["cancelling"]
            made.ada.until(task, lambda run: run["cancelling"])
            time.sleep(3)  # so long that the gateway has tried, and hangs
            assert made.gateway.status("/readyz") == 200
    finally:
        valkey_of_tasks.resume()
    assert [made.ada.ending(task)["state"] for task in tasks_of_ada] == ["cancelled"] * 2
