"""Reading runs: the table plus the facts that still wait, so that a run just enqueued is never missing."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import Q, QuerySet

from taskbell.models import Outbox
from taskbell.models import Run as RunRow
from taskbell.runs.facts import RUN, from_row
from taskbell.runs.forest import Forest, ids_of
from taskbell.runs.rows import to_json, to_run
from taskbell.runs.states import Fact, Run
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of
from taskbell.store.people import forgotten_upto, recipient_of

MOST_RUNS = 100


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as its owner reads it; the attributes of `runs.states.Run` and of its identity, and `as_json()`."""

    run: Run

    def __getattr__(self, name: str) -> Any:
        source = self.run if hasattr(Run, name) else self.run.identity
        return getattr(source, name)

    @property
    def id(self) -> str:
        """Our own id of the run."""
        return self.run.identity.run

    @property
    def error(self) -> dict[str, Any] | None:
        """What the owner may read of a failure: `message` and `reference`."""
        error: dict[str, Any] | None = self.as_json()["error"]
        return error

    def as_json(self) -> dict[str, Any]:
        """Return the data of the event `run`."""
        run = self.run
        at = run.finished_at or run.progress_at or run.started_at or run.identity.queued_at
        return to_json(run, was=None, at=at)


def get_run(id: str, user: AbstractBaseUser) -> RunView | None:
    """Return the newest run with this id (ours or the engine's) that belongs to `user`, or None.

    Reads the outbox before the table: a fact that is folded in between is then seen twice, and folding it
    again changes nothing. Of a run with steps, what the steps told themselves is seen after the tick.
    """
    alias = router.db_for_read(RunRow)
    if "\0" in id:  # comes from a URL, and PostgreSQL refuses to look for it
        return None
    facts = _read_facts(_facts_of(user, alias).filter(Q(task_id=id) | Q(run_key=id)))
    recipient = recipient_of(key_of(user), alias)
    rows = _rows(id, recipient, alias)
    forest = _forest(rows, facts)
    found = [RunView(run) for run in forest.runs.values() if id in (run.identity.run, run.identity.task_id)]
    # A tree comes before the step of the same task: a chain's result is its last task's.
    return max(filter(_is_shown, found), key=lambda view: (view.step is None, _age(view)), default=None)


def list_runs(user: AbstractBaseUser, limit: int = 20) -> tuple[list[RunView], str]:
    """Return the user's newest runs without their steps, newest first, and the cursor at which the list is true."""
    alias = router.db_for_read(RunRow)
    place = place_of_head(alias)
    facts = _read_facts(_facts_of(user, alias))
    recipient = recipient_of(key_of(user), alias)
    rows: list[RunRow] = []
    if recipient is not None:
        mine = RunRow.objects.using(alias).filter(recipient=recipient)
        touched = {UUID(id) for fact in facts for id in ids_of(fact)}
        newest = mine.filter(step=None).exclude(label="", steps=None).order_by("-queued_at")
        rows = [*newest[:limit], *mine.filter(id__in=touched)]
    forest = _forest(rows, facts)
    views = [view for view in map(RunView, forest.runs.values()) if _is_shown(view) and view.step is None]
    return sorted(views, key=_age, reverse=True)[:limit], str(place) if place else ""


def _forest(rows: Iterable[RunRow], facts: Iterable[Fact]) -> Forest:
    forest = Forest({str(row.id): to_run(row) for row in rows})
    for fact in facts:
        forest.take(fact)
    return forest


def _is_shown(view: RunView) -> bool:
    return view.run.steps is not None or view.run.identity.is_shown


def _age(view: RunView) -> float:
    return view.run.identity.queued_at


def _facts_of(user: AbstractBaseUser, alias: str) -> QuerySet[Outbox]:
    key = key_of(user)
    mine = Outbox.objects.using(alias).filter(kind=RUN, user_key=key, failed_at=None)
    return mine.filter(id__gt=forgotten_upto(key, alias))


def _read_facts(rows: QuerySet[Outbox]) -> list[Fact]:
    facts = []
    for row in rows.order_by("id"):
        with suppress(ValueError, TypeError, KeyError):  # the tick sets it aside and says so
            facts.append(from_row(row))
    return facts


def _rows(id: str, recipient: UUID | None, alias: str) -> list[RunRow]:
    """Return the newest run with this id and the newest step, each if there is one."""
    if recipient is None:
        return []
    own = _uuid(id)
    mine = RunRow.objects.using(alias).filter(recipient=recipient)
    found = mine.filter(Q(task_id=id) | Q(id=own) if own else Q(task_id=id)).order_by("-queued_at")
    return [*found.filter(step=None)[:1], *found.filter(step__isnull=False)[:1]]


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
