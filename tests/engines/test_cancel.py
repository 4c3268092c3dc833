"""Cancelling, by real workers: what ends at once, what ends by itself, and that nothing else is hit."""

from collections.abc import Callable
from typing import Any

import pytest
from celery.result import AsyncResult
from django.test import Client
from django.urls import include, path

from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.engines.worker import Owner

MakeStage = Callable[..., Stage]

pytestmark = [pytest.mark.proof, pytest.mark.urls(__name__)]

urlpatterns = [path("taskbell/", include("taskbell.urls.api"))]


def cancel(owner: Owner, task: AsyncResult | str) -> dict[str, Any]:
    """Press the button; return the run as it was answered."""
    client = Client()
    client.force_login(owner.user)
    answer = client.post(f"/taskbell/runs/{task}/cancel/")
    assert answer.status_code in {202, 409}, answer.content
    return answer.json()["run"]


def assert_cancelled(owner: Owner, task: AsyncResult | str, timeout: float = 10) -> list[dict[str, Any]]:
    """Cancelling is shown from the wish to the ending, which comes soon, and is the only one."""
    assert cancel(owner, task)["cancelling"]
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
