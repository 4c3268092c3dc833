"""Times what Taskbell adds to a Celery task: where it is published, where it runs, and to each step of `track`.

Publishing goes to Celery's broker in memory, so that no network is measured. The task runs in a forked child whose
facts go to this process as datagrams, by the very function that a worker's children run.

Prints one JSON list of rounds.
"""

import argparse
import json
import os
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median
from typing import Any, Final

import django
from celery import Celery, signals
from celery.app.trace import build_tracer

WARM_UP: Final = 50
IN_TURN: Final = 10
STEPS_PER_TASK: Final = 200
# Taskbell's handlers are what has this in its name.
OURS: Final = "taskbell.engines.celery"

Round = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    project = Project()
    publish(project, WARM_UP)
    rounds = [publish(project, options.tasks) for _ in range(options.rounds)]
    worked = in_child(project, options.tasks, options.rounds)
    json.dump([one | other for one, other in zip(rounds, worked, strict=True)], sys.stdout)


class Project:
    """A Celery application with two empty tasks: people are shown one and not the other."""

    def __init__(self) -> None:
        from django.contrib.auth import get_user_model

        self.app = Celery("bench", broker="memory://", backend="disabled://", set_as_current=True)
        self.listed = self.app.task(name="bench.listed")(_nothing)
        self.unlisted = self.app.task(name="bench.unlisted")(_nothing)
        self.user = get_user_model().objects.create(username="bench")


def _nothing() -> None:
    pass


def publish(project: Project, count: int) -> Round:
    """Return microseconds and queries of one `delay()`, in an open transaction."""
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    from taskbell import for_user

    out: dict[str, list[float]] = {f"publish_{whose}": [] for whose in ("bare", "unowned", "carrier", "owned")}
    with transaction.atomic():
        for _ in range(count // IN_TURN):
            with without_taskbell():
                out["publish_bare"] += in_a_row(lambda: project.listed.delay)
            out["publish_unowned"] += in_a_row(lambda: project.unlisted.delay)
            with for_user(project.user):
                out["publish_carrier"] += in_a_row(lambda: project.unlisted.delay)
                out["publish_owned"] += in_a_row(lambda: project.listed.delay)
        with CaptureQueriesContext(connection) as unowned:
            bare = header_bytes(project.unlisted)
        with for_user(project.user):
            with CaptureQueriesContext(connection) as carrier:
                project.unlisted.delay()
            with CaptureQueriesContext(connection) as owned:
                added = header_bytes(project.listed) - bare
        transaction.set_rollback(True)
    counts = {"queries_unowned": len(unowned), "queries_carrier": len(carrier), "queries_owned": len(owned)}
    return {f"{what}_us": median(values) for what, values in out.items()} | counts | {"bytes_owned": added}


def header_bytes(task: Any) -> int:
    """Publish a task and return the length of its headers as JSON."""
    sent: list[int] = []

    def note(headers: dict[str, Any], **kwargs: Any) -> None:
        sent.append(len(json.dumps(headers)))

    signals.after_task_publish.connect(note)
    task.delay()
    signals.after_task_publish.disconnect(note)
    return sent[0]


def in_child(project: Project, count: int, rounds: int) -> list[Round]:
    """Measure in a child as a worker's are, and return what it found."""
    from django.db import connections

    from taskbell.runs.send import serve_children

    taken: deque[object] = deque(maxlen=1)
    serve_children(taken.append)
    connections.close_all()
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            work(project, WARM_UP)
            found = [work(project, count) | steps(project) for _ in range(rounds)]
            os.write(writer, json.dumps(found).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    found: list[Round] = json.loads(said)
    return found


def work(project: Project, count: int) -> Round:
    """Return microseconds that a worker's child takes for an empty task."""
    out: dict[str, list[float]] = {f"work_{whose}": [] for whose in ("bare", "unowned", "carrier", "owned")}
    for _ in range(count // IN_TURN):
        with without_taskbell():
            out["work_bare"] += in_a_row(lambda: execution(project))
        out["work_unowned"] += in_a_row(lambda: execution(project))
        out["work_carrier"] += in_a_row(lambda: execution(project, label=""))
        out["work_owned"] += in_a_row(lambda: execution(project, label="Measured"))
    return {f"{what}_us": median(values) for what, values in out.items()}


def execution(project: Project, label: str | None = None) -> Callable[[], object]:
    """Return a call that runs the task as `celery worker` does, from the message's headers on; without, nobody's."""
    task = project.listed
    trace = build_tracer(task.name, task, app=project.app)
    id = str(uuid.uuid4())
    request: dict[str, Any] = {"id": id, "task": task.name, "retries": 0, "delivery_info": {}}
    if label is not None:
        request["headers"] = header_of(project, id, label)
    return lambda: trace(id, (), {}, request)


def header_of(project: Project, id: str, label: str) -> dict[str, str]:
    from taskbell.runs import header
    from taskbell.runs.states import Identity

    identity = Identity(
        run=header.new_run(), task_id=id, engine="celery", name=project.listed.name, label=label,
        user_key=str(project.user.pk), queued_at=time.time(),
    )  # fmt: skip
    return {header.NAME: header.sign(identity)}


def steps(project: Project) -> Round:
    """Return nanoseconds of one step of a loop that does nothing: bare, under `track`, under tqdm."""
    from taskbell import track
    from taskbell.runs.here import Here, enter, leave, new_execution
    from taskbell.runs.states import Identity

    identity = Identity(
        run=str(uuid.uuid4()), task_id="t", engine="celery", name="bench.listed", label="Measured",
        user_key=str(project.user.pk), queued_at=time.time(),
    )  # fmt: skip
    count = STEPS_PER_TASK * 5_000
    enter(Here(identity, attempt=1, execution=new_execution()))
    out = {"step_bare_ns": step_ns(range(count)), "step_track_ns": step_ns(track(range(count)))}
    leave()
    if find_spec("tqdm") is not None:
        from tqdm import tqdm

        with open(os.devnull, "w") as nowhere:
            out["step_tqdm_ns"] = step_ns(tqdm(range(count), file=nowhere))
    return out


def step_ns(items: Any) -> float:
    began, count = time.perf_counter_ns(), 0
    for _ in items:
        count += 1
    return (time.perf_counter_ns() - began) / count


@contextmanager
def without_taskbell() -> Iterator[None]:
    """Take Taskbell's handlers away: the same process, and Celery alone."""
    from taskbell.engines.celery import HANDLERS

    names = [name for name in HANDLERS if hasattr(signals, name)]
    for name in names:
        getattr(signals, name).disconnect(dispatch_uid=f"{OURS}.{name}")
    try:
        yield
    finally:
        for name in names:
            getattr(signals, name).connect(HANDLERS[name], weak=False, dispatch_uid=f"{OURS}.{name}")


def in_a_row(make: Callable[[], Callable[[], object]]) -> list[float]:
    """Time a few calls after one that is not timed: Celery's signals remember their receivers until these change."""
    return [microseconds(make()) for _ in range(IN_TURN + 1)][1:]


def microseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e3


if __name__ == "__main__":
    main()
