"""The reaper: tells what nobody else can tell any more. It only emits facts; the fold makes doubles harmless.

A worker is dead when its beat did not move for a whole lease *while this reaper was watching*, on its own monotonic
clock. So neither a stepped clock, nor a frozen reaper, nor a database that was away makes a living worker look dead.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from taskbell.conf import current
from taskbell.models import Recipient, Worker
from taskbell.models import Run as RunRow
from taskbell.runs.facts import to_row
from taskbell.runs.probes import Probe, Probes
from taskbell.runs.rows import to_run
from taskbell.runs.states import Fact, Kind, Run
from taskbell.store.outbox import insert

STEP_SECONDS: Final = 1.0
# A step that comes this late was frozen or waited for the database: what it saw before counts no more.
STALL_SECONDS: Final = 5.0
MOST_RUNS: Final = 500
INTERRUPTED: Final = "Interrupted; it will be tried again."


@dataclass(slots=True)
class _Sighting:
    beat: int | None
    since: float


class Reaper:
    """Watches workers and waiting runs; `step` is called about once a second."""

    def __init__(self, probe: Probe, clock: Callable[[], float] = time.monotonic) -> None:
        self._probes = Probes(probe)
        self._clock = clock
        self._seen: dict[UUID, _Sighting] = {}
        self._stepped_at = float("-inf")

    def step(self, alias: str) -> int:
        """Look once, and emit what is due; return how many facts that were."""
        if self._clock() - self._stepped_at > STALL_SECONDS:
            self._seen.clear()
        try:
            facts = [*self._of_dead_workers(alias), *_of_waiting_runs(alias)]
        except BaseException:
            self._seen.clear()
            raise
        self._stepped_at = self._clock()
        insert([to_row(fact) for fact in facts])
        return len(facts)

    def _of_dead_workers(self, alias: str) -> list[Fact]:
        open_runs = RunRow.objects.using(alias).filter(state="running", worker__isnull=False)
        ids = {id for id in open_runs.values_list("worker", flat=True).distinct() if id is not None}
        beats = dict(Worker.objects.using(alias).filter(id__in=ids).values_list("id", "beat"))
        dead = [id for id in ids if self._is_dead(id, beats.get(id))]
        self._seen = {id: seen for id, seen in self._seen.items() if id in ids}
        if not dead:
            return []
        runs = _with_owners(open_runs.filter(worker__in=dead).order_by("queued_at")[:MOST_RUNS], alias)
        # The queue is asked first, because an ending may have been stored and only its telling died.
        return [found or _interrupted(run) for run, found in self._probes.ask(runs)]

    def _is_dead(self, id: UUID, beat: int | None) -> bool:
        seen = self._seen.get(id)
        if seen is None or seen.beat != beat:
            self._seen[id] = _Sighting(beat, self._clock())
            return False
        return self._clock() - seen.since >= current().LEASE


def _interrupted(run: Run) -> Fact:
    """A task that acknowledges late will be tried again; any other is lost."""
    if not run.acks_late:
        return _fact(run, "lost")
    return replace(_fact(run, "retrying"), error_message=INTERRUPTED)


def _of_waiting_runs(alias: str) -> list[Fact]:
    now = timezone.now()
    late, lost = _ago(now, current().LATE_AFTER), _ago(now, current().QUEUE_LIMIT)
    waits = RunRow.objects.using(alias).filter(state__in=("queued", "retrying"))
    overdue = waits.filter(_waits_since(late), late=False).exclude(_waits_since(lost))
    hopeless = waits.filter(_waits_since(lost))
    expired = waits.filter(state="queued", expires_at__lt=late)
    return [
        *(_fact(run, "late") for run in _with_owners(overdue[:MOST_RUNS], alias)),
        *(_fact(run, "expired") for run in _with_owners(expired[:MOST_RUNS], alias)),
        *(_fact(run, "lost") for run in _with_owners(hopeless[:MOST_RUNS], alias)),
    ]


def _waits_since(moment: datetime) -> Q:
    """Runs whose turn to start came before `moment`; what was interrupted waits since it last started."""
    due = Q(next_attempt_at__isnull=True) | Q(next_attempt_at__lt=moment)
    again = Q(started_at__isnull=True) | Q(next_attempt_at__isnull=False) | Q(started_at__lt=moment)
    return Q(queued_at__lt=moment) & due & again


def _ago(now: datetime, seconds: int) -> datetime:
    return now - timedelta(seconds=seconds)


def _fact(run: Run, kind: Kind) -> Fact:
    return Fact(
        identity=run.identity,
        kind=kind,
        at=time.time(),
        attempt=run.attempt,
        execution=run.execution,
        done=run.done,
        total=run.total,
        message=run.message,
    )


def _with_owners(rows: Iterable[Any], alias: str) -> list[Run]:
    """Return the runs with their owners' keys, which facts carry; a forgotten owner's runs are left out."""
    rows = list(rows)
    owners = {row.recipient for row in rows}
    keys = dict(Recipient.objects.using(alias).filter(id__in=owners).values_list("id", "user_key"))
    runs = [(to_run(row), keys[row.recipient]) for row in rows if row.recipient in keys]
    return [replace(run, identity=replace(run.identity, user_key=key)) for run, key in runs]
