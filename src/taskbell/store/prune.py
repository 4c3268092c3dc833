"""Prune: delete what retention no longer covers. The floor rises first, so a reader is told before rows go."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from taskbell.conf import current
from taskbell.models import Log, LogHead, Outbox
from taskbell.store.batches import BATCH_ROWS, in_batches
from taskbell.store.clock import AHEAD_SECONDS, PatientClock, moment
from taskbell.store.head import ONE

PRUNE_SECONDS: Final = 60.0
# Progress older than this is of no use to a returning page; its number stays.
PROGRESS_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows a prune deleted from the log and the outbox, and how many it blanked."""

    log: int = 0
    failed: int = 0
    blanked: int = 0


def prune(alias: str, clock: PatientClock | None = None) -> Pruned:
    """Delete events older than EVENT_AGE and blank old progress; safe to run anywhere, any number of times.

    A `clock` that is kept from one call to the next notices when the time is set, and lets nothing go too early.
    """
    clock = clock or PatientClock()
    now = clock.look(alias)
    oldest = clock.ago(current().EVENT_AGE)
    _raise_floor(alias, oldest_kept=oldest, now=now)
    return Pruned(
        log=_delete_below_floor(alias),
        failed=Outbox.objects.using(alias).filter(failed_at__lt=oldest).delete()[0],
        blanked=_blank_progress(alias, before=clock.ago(PROGRESS_SECONDS)),
    )


def _raise_floor(alias: str, oldest_kept: datetime, now: float) -> None:
    """Move the floor to the first row that is young enough, but never above the newest row of all.

    Walks from the floor in log order, so a clock that once ran ahead or behind deletes nothing too early.
    """
    head = LogHead.objects.using(alias).filter(one=ONE).first()
    if head is None:
        return
    young = Log.objects.using(alias).filter(seq__gte=head.floor, sequenced_at__gte=oldest_kept).order_by("seq")
    floor, dated = young.values_list("seq", "sequenced_at").first() or (head.seq, None)
    if dated is not None and dated > moment(now + AHEAD_SECONDS):
        _date_anew(alias, floor, now)
    # A statement of its own, not a transaction: a process that is stopped here must not hold the row tickers lock.
    LogHead.objects.using(alias).filter(one=ONE, log_id=head.log_id, floor__lt=floor).update(floor=floor)


def _date_anew(alias: str, first: int, now: float) -> None:
    """Date with `now` what was numbered while the clock was ahead, or the floor could not pass it until that time."""
    ahead = Log.objects.using(alias).filter(sequenced_at__gt=moment(now + AHEAD_SECONDS)).order_by("seq")
    while batch := list(ahead.filter(seq__gte=first).values_list("seq", flat=True)[:BATCH_ROWS]):
        Log.objects.using(alias).filter(seq__in=batch).update(sequenced_at=moment(now))
        first = batch[-1] + 1


def _delete_below_floor(alias: str) -> int:
    head = LogHead.objects.using(alias).filter(one=ONE).first()
    if head is None:
        return 0
    below = Log.objects.using(alias).filter(seq__lt=head.floor).order_by("seq")
    return sum(batch.delete()[0] for batch in in_batches(below))


def _blank_progress(alias: str, before: datetime) -> int:
    old = Log.objects.using(alias).filter(latest_key__isnull=False, sequenced_at__lt=before).order_by("seq")
    return sum(batch.update(channel=None, payload="", latest_key=None) for batch in in_batches(old))
