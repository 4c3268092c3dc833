"""Reading runs: the table plus the facts that still wait, so that a run just enqueued is never missing."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import Q, QuerySet

from taskbell.models import Outbox, Recipient
from taskbell.models import Run as RunRow
from taskbell.runs.facts import RUN, from_row
from taskbell.runs.rows import to_json, to_run
from taskbell.runs.states import Fact, Run, apply
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of

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
    again changes nothing.
    """
    alias = router.db_for_read(RunRow)
    if "\0" in id:  # comes from a URL, and PostgreSQL refuses to look for it
        return None
    waiting = Outbox.objects.using(alias).filter(Q(task_id=id) | Q(run_key=id), **_facts_of(user))
    facts = _read_facts(waiting)
    recipient = Recipient.objects.using(alias).filter(user_key=key_of(user)).first()
    row = _row(id, recipient, alias)
    runs: dict[str, Run | None] = {str(row.id): to_run(row)} if row is not None else {}
    for fact in facts:
        runs[fact.identity.run] = apply(runs.get(fact.identity.run), fact)
    return max((RunView(run) for run in runs.values() if run), key=_age, default=None)


def list_runs(user: AbstractBaseUser, limit: int = 20) -> tuple[list[RunView], str]:
    """Return the user's newest runs, newest first, and the cursor at which the list is true."""
    alias = router.db_for_read(RunRow)
    place = place_of_head(alias)
    facts = _read_facts(Outbox.objects.using(alias).filter(**_facts_of(user)))
    runs: dict[str, Run | None] = {fact.identity.run: None for fact in facts}
    recipient = Recipient.objects.using(alias).filter(user_key=key_of(user)).first()
    if recipient is not None:
        mine = RunRow.objects.using(alias).filter(recipient=recipient.id)
        rows = [*mine.order_by("-queued_at")[:limit], *mine.filter(id__in=[UUID(id) for id in runs])]
        runs |= {str(row.id): to_run(row) for row in rows}
    for fact in facts:
        runs[fact.identity.run] = apply(runs[fact.identity.run], fact)
    newest = sorted((RunView(run) for run in runs.values() if run), key=_age, reverse=True)
    return newest[:limit], str(place) if place else ""


def _age(view: RunView) -> float:
    return view.run.identity.queued_at


def _facts_of(user: AbstractBaseUser) -> dict[str, Any]:
    return {"kind": RUN, "user_key": key_of(user), "failed_at": None}


def _read_facts(rows: QuerySet[Outbox]) -> list[Fact]:
    facts = []
    for row in rows.order_by("id"):
        with suppress(ValueError, TypeError, KeyError):  # the tick sets it aside and says so
            facts.append(from_row(row))
    return facts


def _row(id: str, recipient: Recipient | None, alias: str) -> RunRow | None:
    if recipient is None:
        return None
    own = _uuid(id)
    mine = RunRow.objects.using(alias).filter(recipient=recipient.id)
    return mine.filter(Q(task_id=id) | Q(id=own) if own else Q(task_id=id)).order_by("-queued_at").first()


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
