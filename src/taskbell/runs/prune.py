"""Prune of runs: ended ones older than RUN_AGE, and workers that no open run names."""

from taskbell.conf import current
from taskbell.models import Run, Worker
from taskbell.runs.states import ENDINGS, WAITING
from taskbell.store.batches import in_batches
from taskbell.store.clock import AHEAD_SECONDS, PatientClock, moment


def prune_runs(alias: str, clock: PatientClock | None = None) -> int:
    """Delete what retention no longer covers, and return the number of runs; safe to run anywhere, at any time.

    A `clock` that is kept from one call to the next notices when the time is set, and lets nothing go too early.
    A living worker whose row goes makes it anew with its next beat.
    """
    clock = clock or PatientClock()
    _date_anew(alias, clock.look(alias))
    oldest = clock.ago(current().RUN_AGE)
    ended = Run.objects.using(alias).filter(state__in=ENDINGS, since__lt=oldest)
    deleted = sum(batch.delete()[0] for batch in in_batches(ended))
    named = Run.objects.using(alias).exclude(state__in=ENDINGS).exclude(worker=None).values("worker")
    Worker.objects.using(alias).filter(started_at__lt=oldest).exclude(id__in=named).delete()
    return deleted


def _date_anew(alias: str, now: float) -> None:
    """Date with `now` what ended, or began to wait, while the clock was ahead; only what waits for a time is later."""
    ahead = Run.objects.using(alias).filter(state__in=ENDINGS | WAITING, since__gt=moment(now + AHEAD_SECONDS))
    ahead.filter(next_attempt_at=None).update(since=moment(now))
