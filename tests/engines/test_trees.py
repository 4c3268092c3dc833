"""Canvases and batches by a real worker: one run with steps, whichever way its tasks were put together."""

from collections.abc import Callable
from typing import Any

import pytest
from celery import chain, chord, group

from taskbell import batch, for_user, get_run
from taskbell.models import Run
from taskbell.runs.states import ENDINGS
from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.engines.worker import Owner, endings_of, wait_for

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("results")]

succeed, fail, hidden = tasks.succeed.si(), tasks.fail.si(), tasks.hidden.si()
spawned, labelled = tasks.spawned.si(), tasks.labelled.si()


def tree_of(owner: Owner, result: Any, timeout: float = 30) -> dict[str, Any]:
    """Wait for the end of the tree that was enqueued as `result`, and return its last event."""
    tree = owner.find(lambda run: run["steps"] is not None and run["task_id"] == result.id)
    return ending_of(owner, tree["id"], timeout)


def ending_of(owner: Owner, id: str, timeout: float = 30) -> dict[str, Any]:
    return owner.find(lambda run: run["id"] == id and run["state"] in ENDINGS, timeout)


def states(tree: dict[str, Any]) -> list[str]:
    return [step["state"] for step in tree["steps"]["list"]]


def labels(tree: dict[str, Any]) -> list[str]:
    return [step["label"] for step in tree["steps"]["list"]]


def events_of(owner: Owner, id: str) -> list[dict[str, Any]]:
    return owner.by_run()[id]


CANVASES: dict[str, tuple[Callable[[], Any], list[str], str]] = {
    "chain": (lambda: chain(succeed, spawned, labelled), ["Succeed", "Spawned", "Making your report"], "Succeed"),
    "group": (lambda: group(succeed, spawned), ["Succeed", "Spawned"], "Succeed"),
    "chord": (lambda: chord([succeed, spawned], labelled), ["Succeed", "Spawned", "Making your report"], "Succeed"),
    "chain of groups": (
        lambda: chain(group(succeed, spawned), group(labelled, labelled), succeed),
        ["Succeed", "Spawned", "Making your report", "Making your report", "Succeed"],
        "Succeed",
    ),
    "group of chains": (
        lambda: group(chain(succeed, spawned), chain(labelled, spawned)),
        ["Succeed", "Spawned", "Making your report", "Spawned"],
        "Succeed",
    ),
    "chord of chains": (
        lambda: chord([chain(succeed, spawned), chain(succeed, spawned)], labelled),
        ["Succeed", "Spawned", "Succeed", "Spawned", "Making your report"],
        "Succeed",
    ),
    "chain in the body of a chord": (
        lambda: chord([succeed, succeed], chain(spawned, labelled)),
        ["Succeed", "Succeed", "Spawned", "Making your report"],
        "Succeed",
    ),
    "chord in the middle of a chain": (
        lambda: chain(succeed, chord([spawned, spawned], labelled), succeed),
        ["Succeed", "Spawned", "Spawned", "Making your report", "Succeed"],
        "Succeed",
    ),
    "unlisted tasks between": (lambda: chain(hidden, succeed, hidden, spawned), ["Succeed", "Spawned"], "Succeed"),
    "an unlisted body": (
        lambda: chord([succeed, spawned], chain(hidden, labelled)),
        ["Succeed", "Spawned", "Making your report"],
        "Succeed",
    ),
    "chunks": (lambda: tasks.square.chunks([(1,), (2,), (3,), (4,)], 2), ["Square", "Square"], "Square"),
}


@pytest.mark.parametrize("make", CANVASES.values(), ids=CANVASES.keys())
def test_a_canvas_is_one_run_with_steps(shared: Stage, make: tuple[Callable[[], Any], list[str], str]) -> None:
    canvas, expected, label = make
    with for_user(shared.ada.user):
        result = canvas().apply_async()
    tree = tree_of(shared.ada, result)
    assert (labels(tree), tree["label"], tree["state"]) == (expected, label, "succeeded")
    assert (tree["done"], tree["total"], tree["steps"]["succeeded"]) == (len(expected),) * 3
    check_steps(shared, tree)


def check_steps(shared: Stage, tree: dict[str, Any]) -> None:
    """Every step was told as it ended, with its place, and once; so was the tree."""
    assert endings_of(events_of(shared.ada, tree["id"])) == [tree["state"]]
    for place, step in enumerate(tree["steps"]["list"]):
        told = events_of(shared.ada, step["id"])
        assert endings_of(told) == [step["state"]]
        assert {(event["parent"], event["step"]) for event in told} == {(tree["id"], place)}


@pytest.mark.parametrize(
    ("make", "expected", "state"),
    [
        (lambda: chain(succeed, fail, spawned, labelled), ["succeeded", "failed", "skipped", "skipped"], "failed"),
        (lambda: chain(fail, chord([succeed, succeed], spawned)), ["failed", *["skipped"] * 3], "failed"),
        (lambda: group(succeed, fail), ["succeeded", "failed"], "failed"),
        (lambda: chord([succeed, fail], spawned), ["succeeded", "failed", "skipped"], "failed"),
        (lambda: chord([succeed], chain(fail, spawned)), ["succeeded", "failed", "skipped"], "failed"),
        (lambda: chain(succeed, tasks.quiet_failure.si(), spawned), ["succeeded", "skipped"], "failed"),
    ],
    ids=["chain", "chain before a chord", "group", "header", "body", "an unlisted task"],
)  # fmt: skip
def test_what_is_never_published_is_skipped(
    shared: Stage, make: Callable[[], Any], expected: list[str], state: str
) -> None:
    with for_user(shared.ada.user):
        result = make().apply_async()
    tree = tree_of(shared.ada, result)
    assert (states(tree), tree["state"]) == (expected, state)
    assert tree["error"]["reference"] in shared.worker.output()
    check_steps(shared, tree)


def test_a_batch_is_one_run_under_its_name(shared: Stage) -> None:
    with for_user(shared.ada.user), batch("Import 42") as import_:
        for _ in range(3):
            tasks.succeed.delay()
        group(spawned, labelled).delay()
        tasks.hidden.delay()
    tree = ending_of(shared.ada, import_.id)
    assert (tree["label"], tree["task_id"], tree["total"]) == ("Import 42", import_.id, 5)
    check_steps(shared, tree)


def test_what_a_step_enqueues_itself_is_no_step(shared: Stage) -> None:
    with for_user(shared.ada.user):
        result = group(tasks.spawn.si(), succeed).apply_async()
    tree = tree_of(shared.ada, result)
    assert tree["total"] == 2
    child = shared.ada.find(lambda run: run["parent"] == tree["steps"]["list"][0]["id"])
    assert (child["step"], child["steps"]) == (None, None)


def test_a_canvas_within_a_task_is_a_tree_of_its_own(shared: Stage) -> None:
    outer = shared.ada.ending(shared.ada.delay(tasks.fan_out))
    tree = shared.ada.find(lambda run: run["parent"] == outer["id"] and run["steps"] is not None)
    assert ending_of(shared.ada, tree["id"])["total"] == 2


def test_a_step_that_is_retried_keeps_its_place(shared: Stage) -> None:
    with for_user(shared.ada.user):
        result = chain(tasks.twice.si(), succeed).apply_async()
    tree = tree_of(shared.ada, result)
    assert states(tree) == ["succeeded", "succeeded"]
    assert "retrying" in [event["state"] for event in events_of(shared.ada, tree["steps"]["list"][0]["id"])]
    check_steps(shared, tree)


@pytest.mark.parametrize("by", ["task", "chain", "group", "chord"])
def test_a_step_that_is_replaced_ends_with_what_replaced_it(shared: Stage, by: str) -> None:
    with for_user(shared.ada.user):
        result = chain(tasks.replace_by.si(by), labelled).apply_async()
    tree = tree_of(shared.ada, result)
    assert (states(tree), tree["total"]) == (["succeeded", "succeeded"], 2)
    check_steps(shared, tree)


@pytest.mark.parametrize("by", ["chain", "group", "chord"])
def test_a_step_whose_replacement_fails_has_failed(shared: Stage, by: str) -> None:
    with for_user(shared.ada.user):
        result = chain(tasks.replace_by.si(by, failing=True), labelled).apply_async()
    tree = tree_of(shared.ada, result)
    assert (states(tree), tree["state"]) == (["failed", "skipped"], "failed")
    check_steps(shared, tree)


def test_a_task_that_is_replaced_outside_of_any_tree(shared: Stage) -> None:
    for by in ("chain", "group"):
        assert shared.ada.ending(shared.ada.delay(tasks.replace_by, by))["state"] == "succeeded"
        assert shared.ada.ending(shared.ada.delay(tasks.replace_by, by, True))["state"] == "failed"


def test_a_link_is_a_run_of_its_own(shared: Stage) -> None:
    task = shared.ada.delay(tasks.succeed, link=spawned)
    ended = shared.ada.ending(task)
    assert ended["steps"] is None
    shared.ada.find(lambda run: run["parent"] == ended["id"] and run["state"] == "succeeded")


def test_rows_of_many_steps_go_with_their_end(shared: Stage) -> None:
    with for_user(shared.ada.user):
        result = group(succeed for _ in range(60)).apply_async()
    tree = tree_of(shared.ada, result, timeout=120)
    assert (tree["steps"]["succeeded"], len(tree["steps"]["list"])) == (60, 20)
    wait_for(lambda: Run.objects.filter(parent=tree["id"]).count() == 20, what="down to those that are shown")
    assert {event["step"] for event in events_of(shared.ada, tree["id"])} == {None}


def test_a_tree_is_found_by_what_the_caller_holds(shared: Stage) -> None:
    with for_user(shared.ada.user):
        for canvas in (chain(succeed, spawned), group(succeed, spawned), chord([succeed], spawned)):
            result = canvas.apply_async()
            run = get_run(result.id, shared.ada.user)
            assert run is not None
            assert run.as_json()["steps"]["total"] == 2
            tree_of(shared.ada, result)
