"""What a group of any size costs, by a real worker: a row for the tree, twenty for its first steps, and one bar."""

import time
from collections.abc import Callable
from math import log2
from typing import Any

import pytest
from celery import chain, group
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from taskbell import for_user
from taskbell.models import Log, Run
from taskbell.runs.fold import TELLINGS, TELLINGS_OPEN
from taskbell.runs.states import ENDINGS, STEPS_SHOWN
from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.engines.test_trees import states, tree_of

pytestmark = pytest.mark.proof

CONCURRENCY = 3


@pytest.mark.parametrize("many", [100, 1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_a_group_costs_the_same_whatever_its_size(stage: Callable[..., Stage], many: int) -> None:
    on = stage("postgres", concurrency=CONCURRENCY)
    canvas = group(tasks.quick.si() for _ in range(many))
    with for_user(on.ada.user), transaction.atomic(), CaptureQueriesContext(connection) as captured:
        result = canvas.delay()
    inserts = [query for query in captured if query["sql"].startswith("INSERT")]
    assert len(inserts) == STEPS_SHOWN + 1
    most = 0
    tree: dict[str, Any] | None = None
    while tree is None:
        most = max(most, Run.objects.count())
        time.sleep(0.05)
        ended = [run for run in on.ada.events(result.id) if run["state"] in ENDINGS]
        tree = ended[-1] if ended else None
    assert tree["steps"]["succeeded"] == many
    # A worker has told of a task before it takes the next, but two facts of one may come in two batches.
    assert most <= STEPS_SHOWN + 1 + 2 * CONCURRENCY
    assert Run.objects.count() == STEPS_SHOWN + 1
    # By hundredths, before by tenths of a doubling, and when one of the shown steps moves.
    assert len(on.ada.by_run()[tree["id"]]) <= TELLINGS + TELLINGS_OPEN * log2(many) + 3 * STEPS_SHOWN
    # Each of the shown steps was queued, has begun and has ended.
    assert Log.objects.count() <= TELLINGS + TELLINGS_OPEN * log2(many) + 6 * STEPS_SHOWN


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_other_pools_show_the_same(stage: Callable[..., Stage], pool: str) -> None:
    on = stage("sqlite", pool=pool)
    with for_user(on.ada.user):
        good = group(chain(tasks.succeed.si(), tasks.spawned.si()), tasks.succeed.si()).delay()
        bad = chain(tasks.succeed.si(), tasks.fail.si(), tasks.spawned.si()).delay()
        again = chain(tasks.replace_by.si("group"), tasks.succeed.si()).delay()
    assert states(tree_of(on.ada, good)) == ["succeeded"] * 3
    assert states(tree_of(on.ada, bad)) == ["succeeded", "failed", "skipped"]
    assert states(tree_of(on.ada, again)) == ["succeeded", "succeeded"]
