"""Facts for tests: a task's life in one line each, and what became of it."""

import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

from taskbell.models import Log, Outbox
from taskbell.models import Run as RunRow
from taskbell.runs.facts import to_row
from taskbell.runs.states import STEPS_SHOWN, Fact, Identity, Kind, Tree
from taskbell.runs.tree import step_id
from taskbell.store.outbox import insert, key_of
from taskbell.testing import deliver

# Executions in the order in which they began.
FIRST, SECOND = "00000000000000001-a", "00000000000000002-b"


def identity(user: Any, **values: Any) -> Identity:
    """Return a new run of a user."""
    defaults = {
        "run": str(uuid.uuid4()),
        "task_id": str(uuid.uuid4()),
        "engine": "celery",
        "name": "photos.tasks.resize",
        "label": "Resizing photo",
        "user_key": key_of(user),
        "queued_at": time.time(),
    }
    return Identity(**(defaults | values))


class Life:
    """One task: `life("started")` is the next fact of its first execution."""

    def __init__(self, user: Any, **values: Any) -> None:
        self.identity = identity(user, **values)

    def __call__(self, kind: Kind, **values: Any) -> Fact:
        execution = "" if kind == "queued" else FIRST
        return Fact(**({"identity": self.identity, "kind": kind, "at": time.time(), "execution": execution} | values))

    @property
    def row(self) -> RunRow:
        return RunRow.objects.get(id=self.identity.run)

    @property
    def is_known(self) -> bool:
        return RunRow.objects.filter(id=self.identity.run).exists()


class TreeLife:
    """One tree: `step(0)` is the life of its first step, `close(3)` the fact that says how many there are."""

    def __init__(self, user: Any) -> None:
        self._user = user
        self._whole = Life(user, label="Import 42")
        self.identity = self._whole.identity

    def step(self, place: int) -> Life:
        of = Tree(label=self.identity.label, queued_at=self.identity.queued_at)
        id = self.identity.run
        return Life(self._user, run=step_id(id, place), parent=id, tree=of, step=place, label=f"Step {place}")

    def close(self, total: int, *holes: tuple[int, int]) -> Fact:
        plan = tuple((f"t{place}", "n", f"Step {place}") for place in range(min(total, STEPS_SHOWN)))
        return self._whole("steps", total=float(total), plan=plan, holes=holes)

    @property
    def row(self) -> RunRow:
        return self._whole.row


def tell(*facts: Fact) -> None:
    """Put facts into the outbox."""
    insert([to_row(fact) for fact in facts])


def told(*facts: Fact) -> list[dict[str, Any]]:
    """Put facts into the outbox, tick, and return the run events that became of them."""
    before = newest()
    tell(*facts)
    deliver()
    return events_after(before)


def newest() -> int:
    return Log.objects.order_by("-seq").values_list("seq", flat=True).first() or 0


def events_after(seq: int) -> list[dict[str, Any]]:
    rows: Iterable[Log] = Log.objects.filter(seq__gt=seq, type="run").order_by("seq")
    return [json.loads(row.payload) for row in rows]


def waiting() -> list[dict[str, Any]]:
    """Return the facts in the outbox."""
    return [json.loads(row.payload) for row in Outbox.objects.filter(kind="run", failed_at=None).order_by("id")]
