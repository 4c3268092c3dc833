"""The reaper: tells what nobody else can tell any more. It only emits facts; the fold makes doubles harmless."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from django.db.models import Q

from taskbell.conf import current
from taskbell.counts import count
from taskbell.models import Recipient
from taskbell.models import Run as RunRow
from taskbell.runs.beats import Beats
from taskbell.runs.facts import to_row
from taskbell.runs.probes import Probe, Probes
from taskbell.runs.rows import to_run
from taskbell.runs.states import WAITING, Fact, Kind, Run
from taskbell.store.clock import PatientClock
from taskbell.store.outbox import insert

STEP_SECONDS: Final = 1.0
MOST_RUNS: Final = 500
# What was told is folded within a poll interval; where it is not, the outbox must not fill with the same again.
REPEAT_SECONDS: Final = 30.0
INTERRUPTED: Final = "Interrupted; it will be tried again."

_Told = tuple[str, Kind, int, str]


class Reaper:
    """Watches workers and waiting runs; `step` is called about once a second.

    `clock` is monotonic, in seconds; `wall` is what waiting runs are judged by.
    """

    def __init__(
        self,
        probe: Probe,
        clock: Callable[[], float] = time.monotonic,
        wall: PatientClock | None = None,
    ) -> None:
        self._probes = Probes(probe)
        self._clock = clock
        self._wall = wall or PatientClock()
        self._beats = Beats(clock)
        self._told: dict[_Told, float] = {}

    def step(self, alias: str) -> int:
        """Look once, and emit what is due; return how many facts that were."""
        facts = [*self._of_dead_workers(alias), *self._of_waiting_runs(alias)]
        told_before = self._clock() - REPEAT_SECONDS
        self._told = {key: at for key, at in self._told.items() if at > told_before}
        news = [fact for fact in facts if _key(fact) not in self._told]
        insert([to_row(fact) for fact in news])
        self._told |= dict.fromkeys(map(_key, news), self._clock())
        for fact in news:
            count("reaped_total", fact.kind)
        return len(news)

    def _of_dead_workers(self, alias: str) -> list[Fact]:
        open_runs = RunRow.objects.using(alias).filter(state="running", worker__isnull=False)
        workers = {id for id in open_runs.values_list("worker", flat=True).distinct() if id is not None}
        dead = self._beats.still(workers, alias)
        if not dead:
            return []
        runs = _with_owners(open_runs.filter(worker__in=dead).order_by("queued_at")[:MOST_RUNS], alias)
        # The queue is asked first, because an ending may have been stored and only its telling died.
        return [found or _interrupted(run) for run, found in self._probes.ask(runs)]

    def _of_waiting_runs(self, alias: str) -> list[Fact]:
        self._wall.look(alias)
        late, lost = self._wall.ago(current().LATE_AFTER), self._wall.ago(current().QUEUE_LIMIT)
        waiting = RunRow.objects.using(alias).filter(state__in=WAITING).order_by("since")
        overdue = waiting.filter(_waits_since(late), late=False).exclude(_waits_since(lost))
        expired = waiting.filter(_waits_since(late), state="queued", expires_at__lt=late)
        hopeless = waiting.filter(_waits_since(lost))
        # Run by a process that has no beat, as an eager task is: nobody can tell whether it lives.
        unwatched = RunRow.objects.using(alias).filter(state="running", worker=None, steps=None, since__lt=lost)
        return [
            *_facts("late", overdue[:MOST_RUNS], alias),
            *_facts("expired", filter(self._has_outlived, expired[:MOST_RUNS]), alias),
            *_facts("lost", hopeless[:MOST_RUNS], alias),
            *_facts("lost", unwatched[:MOST_RUNS], alias),
            *_facts("lost", filter(self._is_abandoned, _still_trees(late, alias)), alias),
        ]

    def _is_abandoned(self, row: RunRow) -> bool:
        """Whether nothing can move a tree any more: it was never closed, or what it waits for does not come."""
        tree = to_run(row)
        if tree.steps is None or tree.steps.is_under_way:
            return False
        assert row.since is not None
        never_closed = tree.total is None and tree.steps.ended == tree.steps.known
        return never_closed or row.since < self._wall.ago(current().QUEUE_LIMIT)

    def _has_outlived(self, row: RunRow) -> bool:
        """Whether an expired run has waited as long as its writer gave it; the writer's clock may be behind."""
        assert row.since is not None
        assert row.expires_at is not None
        lifetime = (row.expires_at - row.queued_at).total_seconds()
        return row.since < self._wall.ago(lifetime + current().LATE_AFTER)


def _still_trees(moment: datetime, alias: str) -> Iterable[RunRow]:
    """Return trees in which nothing has moved since `moment`."""
    trees = RunRow.objects.using(alias).filter(state="running", worker=None, since__lt=moment)
    return trees.exclude(steps=None).order_by("since")[:MOST_RUNS]


def _key(fact: Fact) -> _Told:
    return fact.identity.run, fact.kind, fact.attempt, fact.execution


def _interrupted(run: Run) -> Fact:
    """A task that acknowledges late will be tried again; any other is lost, or gone as its owner wanted."""
    now = time.time()
    if run.acks_late:
        return run.fact("retrying", now, error_message=INTERRUPTED)
    if run.cancel_requested_at is not None:
        # Without its execution it stands below any ending that the worker tells itself, if it lives after all.
        return replace(run, execution="").fact("cancelled", now)
    return run.fact("lost", now)


def _waits_since(moment: datetime) -> Q:
    """Runs whose turn came before `moment`, by our clock and by that of the writer who named a time to start at."""
    return Q(since__lt=moment) & (Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lt=moment))


def _facts(kind: Kind, rows: Iterable[RunRow], alias: str) -> list[Fact]:
    return [run.fact(kind, time.time()) for run in _with_owners(rows, alias)]


def _with_owners(rows: Iterable[RunRow], alias: str) -> list[Run]:
    """Return the runs with their owners' keys, which facts carry; a forgotten owner's runs are left out."""
    rows = list(rows)
    owners = {row.recipient for row in rows}
    keys = dict(Recipient.objects.using(alias).filter(id__in=owners).values_list("id", "user_key"))
    runs = [(to_run(row), keys[row.recipient]) for row in rows if row.recipient in keys]
    return [replace(run, identity=replace(run.identity, user_key=key)) for run, key in runs]
