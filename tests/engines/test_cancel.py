"""Cancelling, by real workers: what ends at once, what ends by itself, and that nothing else is hit."""

import random
import time
import uuid
from typing import Any

import pytest
from celery import chain
from celery.result import AsyncResult

from taskbell.runs.states import ENDINGS
from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.engines.project import app
from tests.engines.worker import Owner, endings_of, wait_for

pytestmark = [pytest.mark.proof, pytest.mark.urls("tests.engines.site.api")]


def assert_cancelled(owner: Owner, task: AsyncResult | str, timeout: float = 10) -> list[dict[str, Any]]:
    """Cancelling is shown from the wish to the ending, which comes soon, and is the only one."""
    assert owner.cancel(task)["cancelling"]
    assert owner.ending(task, timeout)["state"] == "cancelled"
    events = owner.events(task)
    wishes = [event["cancelling"] for event in events]
    assert wishes == [False] * wishes.index(True) + [True] * (len(wishes) - wishes.index(True) - 1) + [False]
    return events


def test_a_running_task_is_stopped(shared: Stage) -> None:
    task = shared.ada.delay(tasks.sleep, 60)
    shared.ada.until(task, "running")
    events = assert_cancelled(shared.ada, task)
    assert [event["state"] for event in events if event["cancelling"]] == ["running"]


def test_a_task_that_waits_for_its_time_is_cancelled_now(shared: Stage) -> None:
    task = shared.ada.delay(tasks.succeed, countdown=3600)
    shared.ada.until(task, "queued")
    assert_cancelled(shared.ada, task)


def test_a_task_that_would_be_tried_again_is_cancelled_now(shared: Stage) -> None:
    task = shared.ada.delay(tasks.later, 3600)
    shared.ada.until(task, "retrying")
    assert_cancelled(shared.ada, task)


def test_a_task_that_waits_for_a_free_child_is_cancelled_now(shared: Stage) -> None:
    busy = [shared.ada.delay(tasks.sleep, 60) for _ in range(3)]
    for task in busy:
        shared.ada.until(task, "running")
    waiting = shared.ada.delay(tasks.succeed)
    wait_for(lambda: f"[{waiting}] received" in shared.worker.output(), what="received")
    assert_cancelled(shared.ada, waiting)
    for task in busy:
        assert_cancelled(shared.ada, task)


def test_a_run_with_steps_is_cancelled_with_all_of_them(shared: Stage) -> None:
    last = shared.ada.delay(chain(tasks.sleep.si(60), tasks.succeed.si()))
    tree = shared.ada.until(last.parent, "running")[-1]["parent"]
    assert shared.ada.cancel(tree)["cancelling"]
    ending = shared.ada.find(lambda event: event["id"] == tree and event["state"] in ENDINGS)
    assert ending["state"] == "cancelled"
    assert shared.ada.ending(last.parent)["state"] == "cancelled"
    # The tree goes by the last task's id too.
    shared.ada.until(last, lambda event: event["parent"] == tree and event["state"] == "skipped")


def test_what_a_cancelled_task_enqueued_goes_on(shared: Stage) -> None:
    task = shared.ada.delay(tasks.spawn_and_sleep, 1)
    run = shared.ada.until(task, "running")[-1]["id"]
    child = shared.ada.find(lambda event: event["parent"] == run)["task_id"]
    assert_cancelled(shared.ada, task)
    assert shared.ada.ending(child)["state"] == "succeeded"


def test_another_task_of_the_same_child_is_not_hit(shared: Stage) -> None:
    """The wish comes as the task ends, and the child goes on to others at once."""
    others = []
    for _ in range(20):
        task = shared.ada.delay(tasks.sleep, 0.3)
        others += [shared.ada.delay(tasks.sleep, 0.2) for _ in range(3)]
        shared.ada.until(task, "running")
        time.sleep(0.3 - random.uniform(0, 0.1))
        shared.ada.cancel(task)
    assert {shared.ada.ending(other)["state"] for other in others} == {"succeeded"}


def test_at_whatever_moment_it_is_asked_each_ends_once_and_as_it_did(shared: Stage) -> None:
    told = [shared.ada.delay(tasks.sleep, random.uniform(0, 0.3), countdown=random.choice([0, 1])) for _ in range(60)]
    random.shuffle(told)
    for task in told:
        time.sleep(random.uniform(0, 0.1))
        shared.ada.cancel(task)
    for task in told:
        ended = shared.ada.ending(task, 60)["state"]
        assert ended in {"cancelled", "succeeded"}
        assert (ended == "succeeded") == shared.worker.has_run(task)
    time.sleep(1)
    assert {len(endings_of(shared.ada.events(task))) for task in told} == {1}


def test_ones_own_stamps_stay(shared: Stage) -> None:
    task = shared.ada.delay(tasks.sleep, 60, stamped_headers=["mine"], mine="stamp-1")
    shared.ada.until(task, "running")
    app.control.revoke_by_stamped_headers({"mine": ["stamp-1"]}, terminate=True)
    assert shared.ada.ending(task, 10)["state"] == "cancelled"


def test_nothing_else_with_the_same_id_is_hit(shared: Stage) -> None:
    id = str(uuid.uuid4())
    shared.ada.delay(tasks.sleep, 60, task_id=id)
    run = shared.ada.until(id, "running")[-1]["id"]
    shared.ada.delay(tasks.sleep, 2, task_id=id)
    other = shared.ada.until(id, lambda event: event["id"] != run and event["state"] == "running")[-1]["id"]
    assert shared.ada.cancel(run)["cancelling"]
    shared.ada.until(id, lambda event: event["id"] == run and event["state"] == "cancelled")
    shared.ada.until(id, lambda event: event["id"] == other and event["state"] == "succeeded")


def test_a_task_that_will_not_stop_ends_as_it_does(shared: Stage) -> None:
    task = shared.ada.delay(tasks.stubborn, 3)
    shared.ada.until(task, "running")
    assert shared.ada.cancel(task)["cancelling"]
    assert shared.ada.ending(task)["state"] == "succeeded"


def test_a_task_that_fails_because_it_was_stopped_is_cancelled(shared: Stage) -> None:
    task = shared.ada.delay(tasks.sulk, 60)
    shared.ada.until(task, "running")
    assert_cancelled(shared.ada, task)


def test_no_worker_complains(shared: Stage) -> None:
    """Of what the other tests do, in whatever order."""
    assert_cancelled(shared.ada, shared.ada.delay(tasks.succeed, countdown=60))
    complaints = [text for text in shared.worker.output().split("Traceback")[1:] if tasks.SECRET not in text]
    assert complaints == []
