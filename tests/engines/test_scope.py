"""What enqueuing a tree writes, without a worker: one fact for the whole, in the transaction that is open."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, group
from django.contrib.auth import get_user_model
from django.db import transaction
from kombu.exceptions import OperationalError

from taskbell import batch, for_user, get_run
from taskbell.models import Outbox, Run
from taskbell.testing import deliver
from tests.engines import tasks
from tests.engines.project import app
from tests.runs.telling import waiting

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("broker")]


def wholes() -> list[dict[str, Any]]:
    return [fact for fact in waiting() if fact["kind"] == "steps"]


def test_without_an_owner_or_a_shown_task_there_is_no_tree(ada: Any) -> None:
    with batch("Nothing"):
        tasks.succeed.delay()
    with for_user(ada), batch("Empty"):
        pass
    with for_user(ada):
        group(tasks.hidden.si(), tasks.hidden.si()).delay()
    assert waiting() == []


def test_an_exception_goes_through_and_leaves_what_was_enqueued(ada: Any) -> None:
    def enqueue() -> None:
        with for_user(ada), batch("Import 42"):
            tasks.succeed.delay()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        enqueue()
    [whole] = wholes()
    assert (whole["total"], whole["identity"]["label"]) == (1, "Import 42")


def test_what_the_broker_did_not_take_is_skipped(ada: Any) -> None:
    with for_user(ada), batch("Import 42") as import_:
        tasks.succeed.delay()
        with app.connection_for_write("redis://127.0.0.1:1/0") as nowhere, pytest.raises(OperationalError):
            tasks.succeed.apply_async(connection=nowhere, retry=False)
    deliver()
    run = get_run(import_.id, ada)
    assert run is not None
    steps = run.as_json()["steps"]
    assert (steps["total"], steps["queued"], steps["skipped"]) == (2, 1, 1)


def test_batches_join_the_outermost_and_others_tasks_are_no_part_of_it(ada: Any) -> None:
    bob = get_user_model().objects.create(username="bob")
    with for_user(ada), batch("Outer") as outer:
        with batch("Inner") as inner:
            tasks.succeed.delay()
        with for_user(bob):
            tasks.succeed.delay()
        chain(tasks.succeed.si(), tasks.spawned.si()).delay()
    assert inner.id == outer.id
    [whole] = wholes()
    assert (whole["total"], len(whole["plan"])) == (3, 3)
    assert {fact["identity"].get("parent") for fact in waiting() if fact["kind"] == "queued"} == {outer.id, None}


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_the_tree_back(ada: Any) -> None:
    with transaction.atomic(), for_user(ada):
        group(tasks.succeed.si(), tasks.spawned.si()).delay()
        transaction.set_rollback(True)
    assert not Outbox.objects.exists()


class TestEager:
    @pytest.fixture(autouse=True)
    def _eager(self) -> Iterator[None]:
        app.conf.task_always_eager = True
        yield
        app.conf.task_always_eager = False

    @pytest.mark.parametrize("canvas", [group, chain], ids=["group", "chain"])
    def test_a_canvas_is_a_tree(self, ada: Any, canvas: Any) -> None:
        with for_user(ada):
            result = canvas(tasks.succeed.si(), tasks.spawned.si()).delay()
        deliver()
        run = get_run(result.id, ada)
        assert run is not None
        assert (run.state, run.as_json()["steps"]["succeeded"]) == ("succeeded", 2)
        assert Run.objects.filter(parent=run.id).count() == 2

    def test_what_a_step_calls_is_no_step(self, ada: Any) -> None:
        with for_user(ada), batch("Import 42") as import_:
            tasks.spawn.delay()
        deliver()
        run = get_run(import_.id, ada)
        assert run is not None
        assert run.as_json()["steps"]["total"] == 1
        assert Run.objects.filter(name__endswith="spawned", step=None).count() == 1
