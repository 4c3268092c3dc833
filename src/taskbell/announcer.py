"""The loop that sends `taskbell.signals`. It follows the log: what is there was committed, and is there once."""

import json
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

from taskbell import faults
from taskbell.counts import count
from taskbell.inbox.notify import NOTIFICATION_EVENT
from taskbell.models import Notification, Run
from taskbell.runs.fold import RUN_EVENT
from taskbell.runs.read import RunView
from taskbell.runs.rows import to_run
from taskbell.runs.states import ENDINGS
from taskbell.signals import notified, run_ended
from taskbell.store.follow import Follower, Stretch, place_of
from taskbell.store.log import LogRow
from taskbell.store.people import user_of

STEP_SECONDS: Final = 1.0
# Receivers may be slow: the place is kept this often, so that whoever takes over tells little twice.
KEEP_SECONDS: Final = 1.0
FOLLOWED: Final = frozenset({RUN_EVENT, NOTIFICATION_EVENT})


class Announcer:
    """Sends what the log has to whoever is connected; `step` is called about once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._follower = Follower("signals", FOLLOWED, clock)

    def step(self, alias: str) -> None:
        """Send what has come. Where nobody is connected, nothing is read and nothing kept."""
        while run_ended.has_listeners(Run) or notified.has_listeners(Notification):
            stretch = self._follower.read(alias)
            if not self._send(stretch, alias) or not stretch.more:
                return

    def _send(self, stretch: Stretch, alias: str) -> bool:
        """Return whether to go on: False where nothing was read, or another process is at it by now."""
        if stretch.end is None:
            return False
        kept_at = self._clock()
        for row in stretch.rows:
            announce(row, alias)
            if self._clock() - kept_at >= KEEP_SECONDS:
                if not self._follower.keep(place_of(row, stretch.end.log_id), alias):
                    return False
                kept_at = self._clock()
        return self._follower.keep(stretch.end, alias)


def announce(row: LogRow, alias: str) -> None:
    """Send the signal that an event of the log is worth, if it is worth one."""
    if row.type not in FOLLOWED or row.latest_key is not None:
        return
    try:
        data = json.loads(row.payload) if row.payload else None  # blanked: its person was erased
        if data is not None and row.type == NOTIFICATION_EVENT:
            _announce_notification(UUID(str(data["id"])), alias)
        elif data is not None and data["state"] in ENDINGS and data["was"] != data["state"] and data["step"] is None:
            _announce_run(UUID(str(data["id"])), alias)
    except (ValueError, KeyError, TypeError):  # written by somebody else, and no reason to stop
        faults.error("Event %s cannot be read, and no signal is sent for it.", row.seq)


def _announce_run(id: UUID, alias: str) -> None:
    """Send it as it is now: what has gone on since will end again."""
    if not run_ended.has_listeners(Run):
        return
    row = Run.objects.using(alias).filter(id=id, state__in=ENDINGS).first()
    user = user_of(row.recipient, alias) if row is not None else None
    if row is not None and user is not None:
        count("signals_total", "run_ended")
        run_ended.send_robust(sender=Run, run=RunView(to_run(row)), user=user)


def _announce_notification(id: UUID, alias: str) -> None:
    if not notified.has_listeners(Notification):
        return
    row = Notification.objects.using(alias).filter(id=id).first()
    user = user_of(row.recipient, alias) if row is not None else None
    if row is not None and user is not None:
        count("signals_total", "notified")
        notified.send_robust(sender=Notification, notification=row, user=user, via=tuple(row.via.split()))
