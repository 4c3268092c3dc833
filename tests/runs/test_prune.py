"""Ended runs go after RUN_AGE; open ones stay, and so does the worker that they name."""

import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from taskbell.models import Run, Worker
from taskbell.runs.prune import prune_runs
from taskbell.store.clock import PatientClock

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

ALIAS = "default"
AGE = 100


def run(state: str, age: int, **fields: Any) -> Run:
    then = timezone.now() - timedelta(seconds=age)
    finished = None if state == "running" else then
    return Run.objects.create(
        engine="celery", task_id="t", name="n", label="l", recipient=uuid.uuid4(), state=state, queued_at=then,
        finished_at=finished, **({"since": then} | fields),
    )  # fmt: skip


@override_settings(TASKBELL={"RUN_AGE": AGE})
def test_ended_runs_go_when_retention_is_over() -> None:
    kept = [run("succeeded", AGE - 10), run("running", 10 * AGE)]
    for state in ("succeeded", "failed", "cancelled", "expired", "skipped", "lost"):
        run(state, AGE + 10)

    assert prune_runs(ALIAS) == 6
    assert set(Run.objects.all()) == set(kept)
    assert prune_runs(ALIAS) == 0


@override_settings(TASKBELL={"RUN_AGE": AGE})
def test_a_worker_named_by_an_open_run_stays() -> None:
    old = timezone.now() - timedelta(seconds=2 * AGE)
    named, forgotten = (Worker.objects.create(id=uuid.uuid4(), name="w", started_at=old) for _ in range(2))
    young = Worker.objects.create(id=uuid.uuid4(), name="w")
    run("running", 2 * AGE, worker=named.id)
    run("lost", AGE - 10, worker=forgotten.id)

    prune_runs(ALIAS)

    assert set(Worker.objects.all()) == {named, young}


@override_settings(TASKBELL={"RUN_AGE": AGE})
def test_the_time_by_a_workers_clock_does_not_count() -> None:
    then = timezone.now() - timedelta(days=3_650)
    kept = run("succeeded", AGE - 10)
    Run.objects.update(finished_at=then, queued_at=then)
    assert prune_runs(ALIAS) == 0
    assert set(Run.objects.all()) == {kept}


@override_settings(TASKBELL={"RUN_AGE": AGE})
def test_a_clock_that_is_set_forward_deletes_nothing_too_early() -> None:
    kept = run("succeeded", AGE - 10)
    now, set_by, began = 0.0, 0.0, time.time()
    clock = PatientClock(lambda alias: began + now + set_by, lambda: now)
    assert prune_runs(ALIAS, clock) == 0
    set_by = 10 * 365 * 86_400.0
    assert prune_runs(ALIAS, clock) == 0
    assert set(Run.objects.all()) == {kept}
    now += 11
    assert prune_runs(ALIAS, clock) == 1


@override_settings(TASKBELL={"RUN_AGE": AGE})
def test_what_was_folded_while_the_clock_was_ahead_counts_from_now_on() -> None:
    ahead, timed = run("succeeded", -(10**8)), run("retrying", -(10**8), next_attempt_at=timezone.now())
    prune_runs(ALIAS)
    ahead.refresh_from_db(), timed.refresh_from_db()
    assert ahead.since is not None
    assert timed.since is not None
    assert ahead.since <= timezone.now() < timed.since
