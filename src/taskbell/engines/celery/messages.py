"""What a message or a request says of its task: whose run it is, which attempt, and when."""

import time
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from taskbell.runs import header
from taskbell.runs.states import Identity

ENGINE: Final = "celery"
# Celery's own tasks (chord_unlock, backend_cleanup) are plumbing.
BUILT_IN: Final = "celery."
# What the column holds.
MOST_RETRIES: Final = 1_000_000


def identity_of(request: Any, task_id: str) -> Identity | None:
    """Return the run of a request, be it a worker's or a task's."""
    custom = getattr(request, "headers", None) or {}
    return identity_in(getattr(request, header.NAME, None) or custom.get(header.NAME), task_id)


def identity_in(text: Any, task_id: str) -> Identity | None:
    """Return the run that a header names, None if there is none or it is forged."""
    if not isinstance(text, str):
        return None
    try:
        return header.read(text, task_id)
    except header.ForgedHeader:
        header.note_forgery(task_id)
        return None


def attempt_of(retries: Any) -> int:
    """Return which attempt this is, from 1; the header with the number of retries is not ours and not signed."""
    return min(retries, MOST_RETRIES) + 1 if isinstance(retries, int) and retries > 0 else 1


def seconds_of(when: Any) -> float | None:
    """Return a moment as seconds of the epoch: ISO text, a datetime, or a number of seconds from now."""
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when)
        except ValueError:
            return None
    if isinstance(when, timedelta):
        when = when.total_seconds()
    if isinstance(when, int | float):
        return time.time() + when
    if isinstance(when, datetime):
        return (when if timezone.is_aware(when) else timezone.make_aware(when)).timestamp()
    return None
