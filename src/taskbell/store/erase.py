"""Erasing: of who was forgotten, everything that was sent to the address that they had is deleted, or blanked.

Nobody can read it any more when this begins, so it may take its time: in small batches, away from the head's lock.
"""

import time
from typing import Final
from uuid import UUID

from django.db.models import Model

from taskbell.ground.events import recipient_channel
from taskbell.models import Forgotten, Log, Notification, PushSubscription, Run
from taskbell.store.batches import BATCH_ROWS, in_batches
from taskbell.store.clock import moment, read_clock

STEP_SECONDS: Final = 1.0
# Of a step, so that what a million rows take does not keep the other loops of a development server waiting.
BUSY_SECONDS: Final = 0.5
MOST_PEOPLE: Final = 100
THEIRS: Final[tuple[type[Model], ...]] = (Run, Notification, PushSubscription)


class OutOfTime(Exception):
    """The rest is for the next step."""


def erase(alias: str, seconds: float = BUSY_SECONDS) -> int:
    """Go on for about so many seconds; return how many people are erased now who were not before.

    Safe to run anywhere, at any time, any number of times at once.
    """
    deadline, done = time.monotonic() + seconds, 0
    now = moment(read_clock(alias))
    waiting = Forgotten.objects.using(alias).filter(erased_at=None).order_by("forgotten_at")
    try:
        for address in list(waiting.values_list("recipient", flat=True)[:MOST_PEOPLE]):
            _erase(address, alias, deadline)
            done += Forgotten.objects.using(alias).filter(recipient=address).update(erased_at=now)
    except OutOfTime:
        pass
    return done


def _erase(address: UUID, alias: str, deadline: float) -> None:
    for model in THEIRS:
        _delete(model, address, alias, deadline)
    _blank(recipient_channel(address), alias, deadline)


def _delete(model: type[Model], address: UUID, alias: str, deadline: float) -> None:
    for batch in in_batches(model._default_manager.using(alias).filter(recipient=address)):
        batch.delete()
        _look_at(deadline)


def _blank(channel: str, alias: str, deadline: float) -> None:
    """Leave nothing of a channel's events but their numbers, by which everybody reads on."""
    rows = Log.objects.using(alias)
    after = -1
    while batch := list(
        rows.filter(channel=channel, seq__gt=after).order_by("seq").values_list("seq", flat=True)[:BATCH_ROWS]
    ):
        rows.filter(seq__in=batch, channel=channel).update(channel=None, type="", payload="", latest_key=None)
        after = batch[-1]
        _look_at(deadline)


def _look_at(deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise OutOfTime
