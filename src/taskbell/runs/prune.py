"""Prune of runs: ended ones older than RUN_AGE, and workers that no open run names."""

from datetime import timedelta
from typing import Final

from django.utils import timezone

from taskbell.conf import current
from taskbell.models import Run, Worker
from taskbell.runs.states import ENDINGS

# As in store/prune.py: no batch holds SQLite's write lock for long.
BATCH_ROWS: Final = 1_000


def prune_runs(alias: str) -> int:
    """Delete what retention no longer covers, and return the number of runs; safe to run anywhere, at any time.

    A living worker whose row goes makes it anew with its next beat.
    """
    oldest = timezone.now() - timedelta(seconds=current().RUN_AGE)
    ended = Run.objects.using(alias).filter(state__in=ENDINGS, finished_at__lt=oldest)
    deleted = 0
    while batch := list(ended.values_list("pk", flat=True)[:BATCH_ROWS]):
        deleted += Run.objects.using(alias).filter(pk__in=batch).delete()[0]
    named = Run.objects.using(alias).exclude(state__in=ENDINGS).exclude(worker=None).values("worker")
    Worker.objects.using(alias).filter(started_at__lt=oldest).exclude(id__in=named).delete()
    return deleted
