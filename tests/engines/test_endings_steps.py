"""Endings of tasks that were never published, on every pool: a stage each, and one ending of each run, as ever."""

from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain, chord

from taskbell import for_user
from tests.engines import tasks
from tests.engines.conftest import OpenStage, Stage
from tests.engines.test_endings import POOLS
from tests.engines.test_trees import check_steps, events_of, states, tree_of

pytestmark = [pytest.mark.proof, pytest.mark.usefixtures("results")]

succeed, fail = tasks.succeed.si(), tasks.fail.si()


@pytest.fixture(scope="module", params=POOLS)
def pool(request: pytest.FixtureRequest, open_stage: OpenStage, results: None) -> Iterator[Stage]:
    with open_stage("sqlite", pool=request.param) as stage:
        yield stage


def test_row_34_a_link_of_a_chain_fails(pool: Stage) -> None:
    check(pool, chain(fail, succeed, succeed), ["failed", "skipped", "skipped"])
    check(pool, chain(succeed, fail, succeed, succeed), ["succeeded", "failed", "skipped", "skipped"])


def test_row_35_a_header_of_a_chord_fails(pool: Stage) -> None:
    check(pool, chord([succeed, fail], succeed), ["succeeded", "failed", "skipped"])
    check(pool, chord([fail], chain(succeed, succeed)), ["failed", "skipped", "skipped"])


def check(stage: Stage, canvas: Any, expected: list[str]) -> None:
    """The tree fails, what follows is told once as skipped and nothing else, and no worker ever received it."""
    with for_user(stage.ada.user):
        result = canvas.apply_async()
    tree = tree_of(stage.ada, result)
    assert (states(tree), tree["state"]) == (expected, "failed")
    assert tree["error"]["reference"] in stage.worker.output()
    check_steps(stage, tree)
    for step in tree["steps"]["list"]:
        told = events_of(stage.ada, step["id"])
        received = told[0]["task_id"] in stage.worker.output()
        assert received == (step["state"] != "skipped")
        assert received or {event["state"] for event in told} <= {"queued", "skipped"}
