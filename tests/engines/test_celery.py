"""What a person is told of their Celery tasks, by a real worker: one ending each, and the right one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, group
from django.db import connection, transaction

from taskbell import get_run
from taskbell.models import Outbox, Run
from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.engines.project import app
from tests.engines.worker import ids_of, wait_for

pytestmark = pytest.mark.proof


def test_success_shows_nothing_of_the_return_value(shared: Stage) -> None:
    task = shared.ada.delay(tasks.succeed)
    assert shared.ada.states(task) == ["running", "succeeded"]
    [first, *_, ending] = shared.ada.events(task)
    assert (first["was"], ending["was"]) == (None, "running")
    assert (ending["result"], ending["error"], ending["attempt"]) == (None, None, 1)
    assert first["queued_at"] <= ending["started_at"] <= ending["finished_at"]


def test_failure_shows_a_reference_that_is_in_the_log(shared: Stage) -> None:
    error = shared.ada.ending(shared.ada.delay(tasks.fail))["error"]
    assert error["message"] is None
    assert error["reference"] in shared.worker.output()


def test_a_public_error_shows_its_text(shared: Stage) -> None:
    ending = shared.ada.ending(shared.ada.delay(tasks.refuse, "No such photo: <b>42</b>"))
    assert (ending["state"], ending["error"]) == (
        "failed", {"message": "No such photo: <b>42</b>", "reference": None},
    )  # fmt: skip


def test_a_public_error_may_be_long_and_odd(shared: Stage) -> None:
    ending = shared.ada.ending(shared.ada.delay(tasks.refuse, "\0é" * 50_000))
    assert ending["state"] == "failed"
    assert ending["error"]["message"].startswith("\0é\0é")


def test_retries_keep_the_run(shared: Stage) -> None:
    task = shared.ada.delay(tasks.twice)
    assert shared.ada.states(task) == ["running", "retrying", "running", "retrying", "running", "succeeded",
    ]  # fmt: skip
    events = shared.ada.events(task)
    assert len(ids_of(event["id"] for event in events)) == 1
    assert [event["attempt"] for event in events if event["state"] == "running"] == [1, 2, 3]
    retrying = next(event for event in events if event["state"] == "retrying")
    assert retrying["next_attempt_at"] > retrying["started_at"]


def test_retries_that_are_used_up_fail(shared: Stage) -> None:
    task = shared.ada.delay(tasks.never)
    assert shared.ada.states(task) == ["running", "retrying", "running", "failed"]
    assert shared.ada.ending(task)["attempt"] == 2
    assert [event["error"] for event in shared.ada.events(task) if event["state"] != "failed"] == [None] * 4


def test_a_retry_for_a_public_reason_shows_it_until_the_next_attempt(shared: Stage) -> None:
    task = shared.ada.delay(tasks.excuse_itself, "Nobody opened the door.")
    assert shared.ada.states(task) == ["running", "retrying", "running", "failed"]
    said = {"message": "Nobody opened the door.", "reference": None}
    assert [event["error"] for event in shared.ada.events(task)] == [None, None, said, None, said]


def test_revoked_before_it_starts_is_cancelled(shared: Stage) -> None:
    task = shared.ada.delay(tasks.succeed, countdown=2)
    shared.ada.until(task, "queued")
    wait_for(lambda: task.id in shared.worker.output(), what="received")
    app.control.revoke(task.id)
    assert shared.ada.states(task) == ["cancelled"]


def test_terminated_while_running_is_cancelled(shared: Stage) -> None:
    task = shared.ada.delay(tasks.sleep, 60)
    shared.ada.until(task, "running")
    app.control.revoke(task.id, terminate=True)
    assert shared.ada.states(task) == ["running", "cancelled"]


def test_expired_on_arrival(shared: Stage) -> None:
    task = shared.ada.delay(tasks.succeed, expires=-5)
    assert shared.ada.states(task) == ["expired"]


def test_a_child_that_is_killed_has_failed(shared: Stage) -> None:
    ending = shared.ada.ending(shared.ada.delay(tasks.die))
    assert (ending["state"], ending["error"]["message"]) == ("failed", None)


def test_progress_moves_and_the_ending_brings_the_last(shared: Stage) -> None:
    task = shared.ada.delay(tasks.steps, 12, 0.1)
    ending = shared.ada.ending(task)
    moved = [event["done"] for event in shared.ada.events(task) if event["state"] == "running"]
    assert moved == [None, *sorted(moved[1:])]
    assert len(moved) >= 4
    assert (ending["done"], ending["total"], ending["message"]) == (12, 12, "Resizing")


def test_progress_is_told_at_most_four_times_a_second(shared: Stage) -> None:
    task = shared.ada.delay(tasks.steps, 2_000, 0.0005)
    ending = shared.ada.ending(task)
    assert ending["done"] == 2_000
    # It took one to three seconds.
    assert len(shared.ada.events(task)) < 20


@pytest.mark.parametrize("message", ["\0", "\ud800", "é" * 5_000, ""], ids=["NUL", "surrogate", "long", "empty"])
def test_any_message_of_progress_is_told(shared: Stage, message: str) -> None:
    assert shared.ada.ending(shared.ada.delay(tasks.steps, 3, 0.01, message))["state"] == "succeeded"


def test_the_last_published_result_is_shown_with_the_ending(shared: Stage) -> None:
    task = shared.ada.delay(tasks.publish_results, 1, {"photo": "/42/"})
    assert shared.ada.ending(task)["result"] == {"photo": "/42/"}
    assert all(event["result"] is None for event in shared.ada.events(task)[:-1])


def test_a_result_that_cannot_be_shown_is_left_out_and_logged(shared: Stage) -> None:
    task = shared.ada.delay(tasks.publish_bad_result)
    assert shared.ada.ending(task)["result"] == {"good": 1}
    # Twice within a minute, and told once.
    assert "publish_result() of task tests.engines.tasks.publish_bad_result" in shared.worker.output()


def test_what_a_task_enqueues_is_its_owners_with_a_run_of_its_own(shared: Stage) -> None:
    task = shared.ada.delay(tasks.spawn)
    parent = shared.ada.ending(task)
    assert parent["state"] == "succeeded"
    child = shared.ada.find(lambda run: run["parent"] == parent["id"])
    assert shared.ada.states(child["task_id"]) == ["running", "succeeded"]


def test_every_link_of_a_chain_and_of_a_group_is_told(shared: Stage) -> None:
    links = [tasks.succeed.si(), tasks.spawned.si(), tasks.labelled.si()]
    last = shared.ada.delay(chain(*links))
    [first, second, third] = [last.parent.parent, last.parent, last]
    assert [shared.ada.states(link)[-1] for link in (first, second, third)] == ["succeeded"] * 3
    assert [shared.ada.ending(link)["step"] for link in (first, second)] == [0, 1]
    members = shared.ada.delay(group(tasks.succeed.si(), tasks.fail.si()))
    assert [shared.ada.ending(member)["state"] for member in members] == ["succeeded", "failed"]


def test_an_ignored_task_has_succeeded_and_a_replaced_one_goes_on(shared: Stage) -> None:
    assert shared.ada.ending(shared.ada.delay(tasks.ignore))["state"] == "succeeded"
    task = shared.ada.delay(tasks.replace)
    assert shared.ada.ending(task)["state"] == "succeeded"
    assert len(ids_of(event["id"] for event in shared.ada.events(task))) == 1


def test_a_task_without_a_result_row_is_told(shared: Stage) -> None:
    assert shared.ada.states(shared.ada.delay(tasks.without_result)) == ["running", "succeeded"]


def test_a_name_that_no_worker_knows_has_failed(shared: Stage) -> None:
    from taskbell import for_user

    with for_user(shared.ada.user):
        task = app.send_task("tests.engines.tasks.removed")
    assert shared.ada.ending(task)["state"] == "failed"


def test_a_task_that_fails_inside_its_transaction_still_reports(shared: Stage) -> None:
    task = shared.ada.delay(tasks.broken_transaction)
    ending = shared.ada.ending(task)
    assert (ending["state"], ending["done"], ending["message"]) == ("failed", 1, "in the transaction")


def test_progress_inside_a_long_transaction_moves_the_bar(shared: Stage) -> None:
    task = shared.ada.delay(tasks.long_transaction, 12, 0.1)
    if connection.vendor == "sqlite":
        # The task holds the one write lock, so the writer waits; nothing is lost.
        assert shared.ada.ending(task)["done"] == 12
        return
    [told] = [shared.ada.until(task, lambda run: (run["done"] or 0) > 3)]
    assert told[-1]["state"] == "running"
    assert shared.ada.ending(task)["state"] == "succeeded"


def test_labels(shared: Stage) -> None:
    assert shared.ada.ending(shared.ada.delay(tasks.labelled))["label"] == "Making your report"
    assert shared.ada.ending(shared.ada.delay(tasks.without_result))["label"] == "Without result"


def test_an_unlisted_task_is_not_told_and_what_it_spawns_is_nobodys(shared: Stage) -> None:
    task = shared.ada.delay(tasks.hidden)
    wait_for(lambda: shared.worker.has_run(task), what="run")
    assert not Outbox.objects.filter(task_id=task.id).exists()
    assert not Run.objects.filter(task_id=task.id).exists()
    assert shared.ada.events(task) == []


def test_a_run_is_there_as_soon_as_it_is_enqueued_and_ever_after(shared: Stage) -> None:
    states = []
    with transaction.atomic():
        task = shared.ada.delay(tasks.sleep, 0.2)
        run = get_run(task.id, shared.ada.user)
        assert run is not None
        assert run.state == "queued"
    while not run.ended:
        run = get_run(task.id, shared.ada.user)
        assert run is not None, f"missing after {states[-3:]}"
        states.append(run.state)
    assert run.state == "succeeded"


def test_the_owner_alone_finds_it(shared: Stage) -> None:
    task = shared.ada.delay(tasks.succeed)
    bob = shared.project.person("bob")
    assert get_run(task.id, bob) is None
    shared.ada.ending(task)
    assert get_run(task.id, bob) is None
    run = get_run(task.id, shared.ada.user)
    assert run is not None
    assert get_run(run.id, shared.ada.user) == run


def test_nothing_secret_leaves_the_worker(shared: Stage) -> None:
    """Runs among the others in random order; what they told counts too."""
    for task in (tasks.succeed, tasks.fail, tasks.publish_results, tasks.never):
        shared.ada.ending(shared.ada.delay(task))
    everything = json.dumps(shared.ada.all_events())
    assert tasks.SECRET not in everything
    assert "Traceback" not in everything
    assert "ValueError" not in everything


def test_a_rolled_back_transaction_takes_queued_back_and_the_task_tells_itself(shared: Stage) -> None:
    """Publishing to a broker inside a transaction cannot be taken back; then the worker's facts make the run."""
    with transaction.atomic():
        task = shared.ada.delay(tasks.succeed)
        transaction.set_rollback(True)
    assert shared.ada.states(task) == ["running", "succeeded"]


class TestForged:
    @pytest.mark.parametrize(
        "change",
        [
            pytest.param(lambda header: header[:-1] + ("A" if header[-1] != "A" else "B"), id="another signature"),
            pytest.param(lambda header: header.replace('"user_key":"1"', '"user_key":"2"', 1), id="another owner"),
            pytest.param(lambda header: "nonsense", id="no header"),
            pytest.param(lambda header: header, id="copied from another task"),
        ],
    )
    def test_a_forged_header_is_nobodys_and_the_task_runs(self, shared: Stage, change: Callable[[str], str]) -> None:
        from taskbell.runs import header
        from taskbell.runs.states import Identity

        identity = Identity(
            run=header.new_run(), task_id="another", engine="celery", name="tests.engines.tasks.succeed",
            label="x", user_key="1", queued_at=1.0,
        )  # fmt: skip
        # Past our own hook, as somebody does who writes to the broker.
        message: Any = {"headers": {header.NAME: change(header.sign(identity))}}
        from celery import signals

        from taskbell.engines.celery import UID

        def forge(headers: dict[str, Any], **kwargs: Any) -> None:
            headers.update(message["headers"])

        signals.before_task_publish.connect(forge, weak=False, dispatch_uid=f"{UID}.forge")
        try:
            task = tasks.succeed.delay()
        finally:
            signals.before_task_publish.disconnect(dispatch_uid=f"{UID}.forge")
        wait_for(lambda: shared.worker.has_run(task), what="run")
        assert shared.ada.events(task) == []
        assert not Run.objects.filter(task_id=task.id).exists()
        assert shared.worker.output().count("not signed by this site") >= 1
