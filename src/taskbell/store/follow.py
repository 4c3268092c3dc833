"""Following the log from a place that is kept in the database, so that nothing is left out over a restart.

Of several processes one follows: it moves the place, and another one takes over when that stood still for a lease
although there was something to read. No clock is compared, and nothing is locked while it works.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from django.db.models import QuerySet

from taskbell import faults
from taskbell.conf import current
from taskbell.ground.cursor import Cursor
from taskbell.models import Log, Place
from taskbell.store.log import LogRow, Lost, Page, place_of_head, read_after

PAGE_ROWS: Final = 100


@dataclass(frozen=True, slots=True)
class Stretch:
    """What the log has after the place, of the types that are wanted; `end` is where the next stretch begins.

    Without an `end` nothing was read, because nothing came or another process is at it.
    """

    rows: Sequence[LogRow] = ()
    end: Cursor | None = None
    more: bool = False


@dataclass(slots=True)
class Follower:
    """Follows one name's place; keep one object a process. `clock` is monotonic, in seconds."""

    name: str
    types: frozenset[str]
    clock: Callable[[], float] = time.monotonic
    # Chosen at the first use: a server may fork after the apps are ready.
    _id: UUID | None = None
    _watched: tuple[object, ...] = ()
    _watched_since: float = field(default=0.0)

    def read(self, alias: str) -> Stretch:
        """Return what comes next; nothing where another process is at it, and at the very first time."""
        row = Place.objects.using(alias).filter(name=self.name).first()
        if row is None:
            self._begin(alias)
            return Stretch()
        place = Cursor(row.log_id, row.seq, row.nonce)
        page = read_after(place, alias, limit=0)
        if isinstance(page, Lost):
            self._skip(row, page, alias)
        elif page is not None and page.head.seq > row.seq and (row.holder == self._own_id or self._take(row, alias)):
            return self._stretch(place, page, alias)
        return Stretch()

    def keep(self, place: Cursor, alias: str) -> bool:
        """Move the place: everything up to it is done. False if another process has taken over."""
        return self._move(Place.objects.using(alias).filter(holder=self._own_id), place)

    @property
    def _own_id(self) -> UUID:
        self._id = self._id or uuid4()
        return self._id

    def _begin(self, alias: str) -> None:
        """Begin at the end: what was before anybody followed is not told."""
        head = place_of_head(alias)
        if head is not None:
            first = Place(name=self.name, holder=self._own_id, log_id=head.log_id, seq=head.seq, nonce=head.nonce)
            Place.objects.using(alias).bulk_create([first], ignore_conflicts=True)

    def _skip(self, row: Place, lost: Lost, alias: str) -> None:
        head = place_of_head(alias)
        as_found = Place.objects.using(alias).filter(holder=row.holder, log_id=row.log_id, seq=row.seq)
        if head is not None and self._move(as_found, head):
            faults.error("The log was %s: receivers of %s go on with what comes from now on.", lost.reason, self.name)

    def _take(self, row: Place, alias: str) -> bool:
        """Take over from a process that did not move the place while there was something to read."""
        seen = (row.holder, row.log_id, row.seq)
        if seen != self._watched:
            self._watched, self._watched_since = seen, self.clock()
        if self.clock() - self._watched_since < current().LEASE:
            return False
        as_seen = Place.objects.using(alias).filter(name=self.name, holder=row.holder, log_id=row.log_id, seq=row.seq)
        return as_seen.update(holder=self._own_id) == 1

    def _stretch(self, place: Cursor, page: Page, alias: str) -> Stretch:
        after = Log.objects.using(alias).filter(seq__gt=place.seq, seq__lte=page.head.seq)
        # Progress has a `latest_key`, and comes again.
        wanted = after.filter(type__in=self.types, latest_key=None).order_by("seq")
        rows = [LogRow(*row) for row in wanted.values_list(*LogRow._fields)[:PAGE_ROWS]]
        if len(rows) == PAGE_ROWS:
            return Stretch(rows, place_of(rows[-1], page.head.log_id), more=True)
        nonce = after.filter(seq=page.head.seq).values_list("nonce", flat=True).first()
        return Stretch(rows, Cursor(page.head.log_id, page.head.seq, nonce) if nonce else None)

    def _move(self, rows: QuerySet[Place], place: Cursor) -> bool:
        return rows.filter(name=self.name).update(log_id=place.log_id, seq=place.seq, nonce=place.nonce) == 1


def place_of(row: LogRow, log_id: str) -> Cursor:
    """Return the place right after a row."""
    return Cursor(log_id, row.seq, row.nonce)
