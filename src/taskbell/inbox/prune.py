"""Prune of inboxes: notifications older than NOTIFICATION_AGE, read or not, and Web Push that nobody could send."""

from taskbell.conf import current
from taskbell.inbox.push.message import LIFE_SECONDS
from taskbell.models import Notification
from taskbell.store.batches import in_batches
from taskbell.store.clock import AHEAD_SECONDS, PatientClock, moment


def prune_notifications(alias: str, clock: PatientClock | None = None) -> int:
    """Delete what retention no longer covers, and return how many; safe to run anywhere, at any time.

    A `clock` that is kept from one call to the next notices when the time is set, and lets nothing go too early.
    """
    clock = clock or PatientClock()
    now = clock.look(alias)
    rows = Notification.objects.using(alias)
    # What was put there while the clock was ahead counts from now on.
    rows.filter(created_at__gt=moment(now + AHEAD_SECONDS)).update(created_at=moment(now))
    # The gateways' PUSH was broken, or is set no more. Mended, it begins with what is news, not with all that was.
    for overdue in in_batches(rows.filter(push_at__lt=clock.ago(LIFE_SECONDS))):
        overdue.update(push_at=None)
    old = rows.filter(created_at__lt=clock.ago(current().NOTIFICATION_AGE))
    return sum(batch.delete()[0] for batch in in_batches(old))
