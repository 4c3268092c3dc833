"""The table of docs/explain/endings.md, row by row, on every pool: what the owner's stream shows of each ending.

At the end of each stage every run on it has been told exactly one ending.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery
import pytest
from celery.result import AsyncResult

from taskbell import for_user
from tests.engines import tasks, ways_to_end
from tests.engines.conftest import LEASE, OpenStage, Stage
from tests.engines.project import app
from tests.engines.worker import Pool, wait_for

pytestmark = pytest.mark.proof

POOLS: tuple[Pool, ...] = ("prefork", "threads", "solo")
# Only children can be killed, and only from outside can a limit be enforced.
CHILDREN: tuple[Pool, ...] = ("prefork",)
# Solo hears nothing while a task runs.
CONCURRENT: tuple[Pool, ...] = ("prefork", "threads")

RUNS = ("running",)
AGAIN = ("running", "retrying")
NEW = celery.VERSION >= (5, 7)
# It survives a MemoryError. Its cold shutdown waits for a solo task, its warm one for all that threads were given.
OLD = celery.VERSION < (5, 5)

# Billiard believes a child dead only after 10 s.
PATIENCE = 40.0


@dataclass(frozen=True)
class Row:
    """How a task is enqueued, what is done to it then, and what its owner sees after "queued"."""

    name: str
    task: Any
    states: Sequence[str]
    args: tuple[Any, ...] = ()
    options: Callable[[], dict[str, Any]] = dict
    during: Callable[[Stage, AsyncResult], None] | None = None
    pools: tuple[Pool, ...] = POOLS
    once: bool = False  # its argument is the file in which it leaves its mark


def options(**values: Any) -> Callable[[], dict[str, Any]]:
    return lambda: values


def when_received(act: Callable[[str], None]) -> Callable[[Stage, AsyncResult], None]:
    def during(stage: Stage, task: AsyncResult) -> None:
        wait_for(lambda: task.id in stage.worker.output(), what="received")
        act(task.id)

    return during


def when_running(act: Callable[[str], None]) -> Callable[[Stage, AsyncResult], None]:
    def during(stage: Stage, task: AsyncResult) -> None:
        stage.ada.until(task, "running")
        act(task.id)

    return during


def terminate(signal: str) -> Callable[[str], None]:
    return lambda id: app.control.revoke(id, terminate=True, signal=signal)


def revoke_stamp(id: str) -> None:
    app.control.revoke_by_stamped_headers({"batch": ["42"]})


STAMPED = options(countdown=3, headers={"stamps": {"batch": ["42"]}, "stamped_headers": ["batch"]})

ROWS = [
    Row("01-success", tasks.succeed, [*RUNS, "succeeded"]),
    Row("02-exception", tasks.fail, [*RUNS, "failed"]),
    Row("03-retry", tasks.twice, [*AGAIN, *AGAIN, *RUNS, "succeeded"]),
    Row("01-eta-after-the-lease", tasks.succeed, [*RUNS, "succeeded"], options=options(countdown=LEASE + 2)),
    Row("03-retry-after-the-lease", ways_to_end.retry_after, [*AGAIN, *RUNS, "succeeded"], (LEASE + 2,)),
    Row("04-retries-used-up", tasks.never, [*AGAIN, *RUNS, "failed"]),
    Row("05-ignore", tasks.ignore, [*RUNS, "succeeded"]),
    Row("06-ignore-with-state", ways_to_end.ignore_with_state, [*RUNS, "succeeded"]),
    Row("07-reject", ways_to_end.reject, [*RUNS, "failed"]),
    Row("07-reject-acks-late", ways_to_end.reject_late, [*RUNS, "failed"]),
    Row("08-requeue-acks-late", ways_to_end.requeue_once, [*AGAIN, *RUNS, "succeeded"], once=True),
    Row("08-requeue-in-vain", ways_to_end.requeue_in_vain, [*RUNS, "lost"]),
    Row("09-soft-limit", tasks.sleep, [*RUNS, "failed"], (60,), options(soft_time_limit=1), pools=CHILDREN),
    Row(
        "10-soft-limit-caught",
        ways_to_end.sleep_softly,
        [*RUNS, "succeeded"],
        (60,),
        options(soft_time_limit=1),
        pools=CHILDREN,
    ),
    Row("11-hard-limit", tasks.sleep, [*RUNS, "failed"], (60,), options(time_limit=1), pools=CHILDREN),
    Row("11-hard-limit-acks-late", tasks.sleep_late, [*RUNS, "failed"], (60,), options(time_limit=1), pools=CHILDREN),
    Row(
        "11-hard-limit-in-c", ways_to_end.compute, [*RUNS, "failed"], (), options(time_limit=LEASE + 2), pools=CHILDREN
    ),
    Row(
        "12-revoked-before-start",
        tasks.succeed,
        ["cancelled"],
        options=options(countdown=3),
        during=when_received(app.control.revoke),
    ),
    Row("13-revoked-by-stamp", tasks.succeed, ["cancelled"], options=STAMPED, during=when_received(revoke_stamp)),
    Row(
        "14-terminated",
        tasks.sleep,
        [*RUNS, "cancelled"],
        (60,),
        during=when_running(terminate("SIGTERM")),
        pools=CHILDREN,
    ),
    Row(
        "14-killed", tasks.sleep, [*RUNS, "cancelled"], (60,), during=when_running(terminate("SIGKILL")), pools=CHILDREN
    ),
    Row(
        "15-terminated-with-sigusr1",
        tasks.sleep,
        [*RUNS, "cancelled"],
        (60,),
        during=when_running(terminate("SIGUSR1")),
        pools=CHILDREN,
    ),
    Row(
        "16-revoked-while-running",
        tasks.sleep,
        [*RUNS, "succeeded"],
        (2,),
        during=when_running(app.control.revoke),
        pools=CONCURRENT,
    ),
    Row("17-expired", tasks.succeed, ["expired"], options=options(expires=-5)),
    Row("17-expired-before-its-time", tasks.succeed, ["expired"], options=options(countdown=3, expires=1)),
    Row("18-child-killed", tasks.die, [*RUNS, "failed"], pools=CHILDREN),
    Row("18-child-exits", ways_to_end.exit_at_once, [*RUNS, "failed"], pools=CHILDREN),
    Row("19-child-killed-acks-late", ways_to_end.die_late, [*RUNS, "failed"], pools=CHILDREN),
    Row("20-child-killed-rejected", ways_to_end.die_once, [*AGAIN, *RUNS, "succeeded"], pools=CHILDREN, once=True),
    Row(
        "20-child-killed-retried",
        ways_to_end.die_once_and_retry,
        [*AGAIN, *RUNS, "succeeded"] if NEW else [*RUNS, "failed"],
        pools=CHILDREN,
        once=True,
    ),
    Row("21-sys-exit", ways_to_end.exit_from_python, [*RUNS, "failed"], pools=CONCURRENT),
    Row("23-result-that-is-no-json", ways_to_end.return_what_is_no_json, [*RUNS, "failed"]),
    Row("30-bad-arguments", "tests.engines.tasks.sleep", [*RUNS, "failed"], ("seconds", "too", "many")),
    Row("29-unknown-name", "tests.engines.tasks.removed", ["failed"]),
    Row("31-disallowed-content", tasks.succeed, ["failed"], options=options(serializer="pickle")),
    Row("32-without-result", tasks.without_result, [*RUNS, "succeeded"]),
    Row("32-failure-without-result", ways_to_end.fail_without_result, [*RUNS, "failed"]),
    Row("33-exception-in-before-start", ways_to_end.fail_before_start, [*RUNS, "failed"]),
    Row("33-exception-in-on-success", ways_to_end.fail_after_success, [*RUNS, "succeeded" if NEW else "failed"]),
    Row("36-replace", tasks.replace, [*RUNS, "succeeded"]),
    Row(
        "38-limits-without-children",
        tasks.sleep,
        [*RUNS, "succeeded"],
        (2,),
        options(time_limit=1, soft_time_limit=1),
        pools=("threads", "solo"),
    ),
]


@pytest.fixture(scope="module")
def rows_on(request: pytest.FixtureRequest, open_stage: OpenStage, tmp_path_factory: Any) -> Iterator[Any]:
    """A stage with one pool, on which all that nobody interferes with was enqueued at once."""
    pool: Pool = request.param
    folder: Path = tmp_path_factory.mktemp("marks")
    with open_stage("sqlite", pool=pool, concurrency=4) as stage:
        enqueued = {row.name: enqueue(stage, row, folder) for row in ROWS if pool in row.pools and row.during is None}

        def run(row: Row) -> tuple[Stage, AsyncResult]:
            if row.during is None:
                return stage, enqueued[row.name]
            task = enqueue(stage, row, folder)
            row.during(stage, task)
            return stage, task

        yield run


def enqueue(stage: Stage, row: Row, folder: Path) -> AsyncResult:
    if isinstance(row.task, str):  # as another code base does, which has no such function
        with for_user(stage.ada.user):
            return app.send_task(row.task, row.args)
    args = (str(folder / row.name),) if row.once else row.args
    return stage.ada.delay(row.task, *args, **row.options())


@pytest.mark.parametrize(
    ("rows_on", "row"),
    [pytest.param(pool, row, id=f"{row.name}-{pool}") for pool in POOLS for row in ROWS if pool in row.pools],
    indirect=["rows_on"],
    scope="module",
)
def test_row(rows_on: Callable[[Row], tuple[Stage, AsyncResult]], row: Row) -> None:
    stage, task = rows_on(row)
    assert stage.ada.states(task, PATIENCE) == list(row.states)
