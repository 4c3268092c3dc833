"""What time it is, for whoever compares times that several processes wrote, at different times of day and of clocks.

Wall clocks are wrong, and set right: a machine boots into 1970, an administrator types the wrong year, a virtual
machine wakes up. So all gateways date by one clock, the database's, and whoever counts from such a date asks what that
clock has shown since, instead of subtracting two readings.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.conf import settings
from django.db import connections
from django.utils import timezone

# A clock that moved by more than this beside the monotonic one was set; NTP slews by a tenth of it in a minute.
STEP_SECONDS: Final = 1.0
# A date that is this far ahead was written while the clock was: nobody dates for the future.
AHEAD_SECONDS: Final = 60.0
# A clock that is set all the time is not remembered for ever.
MOST_STRETCHES: Final = 1_000


def read_clock(alias: str) -> float:
    """Return the time in seconds of the epoch by the database's clock, or by our own where the database has none."""
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return time.time()
    with connection.cursor() as cursor:
        cursor.execute("select extract(epoch from clock_timestamp())::float8")
        return float(cursor.fetchone()[0])


def moment(seconds: float) -> datetime:
    """Return seconds of the epoch as columns hold them."""
    found = datetime.fromtimestamp(seconds, UTC)
    return found if settings.USE_TZ else timezone.make_naive(found)


@dataclass(slots=True)
class _Stretch:
    """A time in which the clock was not set. Both ends are monotonic; at `seen` the clock showed `shown`."""

    began: float
    seen: float
    shown: float

    def at(self, monotonic: float) -> float:
        return self.shown - (self.seen - monotonic)


class PatientClock:
    """A wall clock with a memory of being set; keep one object for as long as the process lives, and look often."""

    def __init__(
        self, read: Callable[[str], float] = read_clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._stretches: deque[_Stretch] = deque(maxlen=MOST_STRETCHES)
        self._lock = threading.Lock()

    def look(self, alias: str) -> float:
        """Return the time, in seconds of the epoch, and notice whether the clock was set."""
        shown, seen = self._read(alias), self._monotonic()
        with self._lock:
            self._learn(shown, seen)
        return shown

    def ago(self, seconds: float) -> datetime:
        """Return the earliest time that was shown within the `seconds` before the last look.

        What is dated before it is truly that old, however the clock was set meanwhile; before the first look it is
        taken to have gone evenly.
        """
        with self._lock:
            start = self._stretches[-1].seen - seconds
            within = (stretch for stretch in self._stretches if stretch.seen >= start)
            return moment(min(stretch.at(max(stretch.began, start)) for stretch in within))

    def _learn(self, shown: float, seen: float) -> None:
        if not self._stretches:
            self._stretches.append(_Stretch(float("-inf"), seen, shown))
            return
        last = self._stretches[-1]
        if abs(shown - last.at(seen)) <= STEP_SECONDS:
            last.seen, last.shown = seen, shown
            return
        # It was set some time since the last look: both the old and the new reading are true of all that time.
        between = last.seen
        last.shown, last.seen = last.at(seen), seen
        self._stretches.append(_Stretch(between, seen, shown))
