"""Which outbox rows wait. On most databases: all of them. On PostgreSQL: above a low-water id.

PostgreSQL keeps deleted rows until no snapshot needs them, so under a long snapshot (pg_dump) a read from the
start would walk over every row already moved. It therefore reads above the highest id seen. But ids are taken
before commit: an id below that was never seen may still be committed. Such ids are holes, and are read with
every batch until every transaction that could have taken them has ended.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Final

from django.db import connections

from taskbell.models import Outbox, Recipient

# A rolled-back burst leaves this many ids that nobody will ever commit; beyond it a scan from the start is cheaper.
MOST_HOLES: Final = 10_000
# Between taking its id and its transaction number a writer shows in no snapshot. The gap is microseconds, but a
# backend can be stopped in it; so now and then everything is read, and such a row is late instead of lost.
FULL_SCAN_SECONDS: Final = 10.0


class Waiting(ABC):
    """The ids that wait, lowest first; one object a ticker."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @abstractmethod
    def read(self, limit: int) -> tuple[list[int], bool]:
        """Return up to `limit` new ids (and all kept ones), and whether all are events whose channel is known."""

    def keep(self, ids: Iterable[int]) -> None:
        """Go on reading these ids: they were seen, but stay in the outbox."""

    def restart(self) -> None:
        """Forget what was seen; the next read starts from the lowest id."""


class FromTheStart(Waiting):
    """Every row, every time: where one lock orders all writers, ids appear in order and deleted rows are gone."""

    def read(self, limit: int) -> tuple[list[int], bool]:
        rows = Outbox.objects.using(self.alias).filter(failed_at=None).order_by("id")
        return list(rows.values_list("id", flat=True)[:limit]), False


class AboveLowWater(Waiting):
    """PostgreSQL: ids above the highest seen, and the holes below it."""

    def __init__(self, alias: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(alias)
        self.clock = clock
        self.restart()

    def restart(self) -> None:
        self.low = 0
        self.holes: dict[int, int | None] = {}
        self._first: tuple[int, int] | None = None
        self._settled = False
        self._full_scan_at = self.clock() + FULL_SCAN_SECONDS

    def keep(self, ids: Iterable[int]) -> None:
        self.holes.update(dict.fromkeys(ids))

    def read(self, limit: int) -> tuple[list[int], bool]:
        full = not self._settled or self.clock() >= self._full_scan_at
        if full:
            self._full_scan_at = self.clock() + FULL_SCAN_SECONDS
        with connections[self.alias].cursor() as cursor:
            cursor.execute(_READ, [list(self.holes), 0 if full else self.low, limit])
            rows = cursor.fetchall()
        oldest_running, next_transaction = rows[0][:2]
        found = {row[2]: row[3] for row in rows if row[2] is not None}
        if self._settled:
            self._advance(found.keys(), oldest_running, next_transaction)
        else:
            self._settle(found.keys(), oldest_running, next_transaction)
        return sorted(found), all(found.values())

    def _settle(self, seen: Iterable[int], oldest_running: int, next_transaction: int) -> None:
        """Leave the scan from the start once every transaction of the first sighting has ended.

        All ids below the highest one of that sighting were taken before it, so from then on none can appear.
        """
        highest = max(seen, default=0)
        if self._first is None:
            if highest:
                self._first = (highest, next_transaction)
        elif oldest_running >= self._first[1]:
            self.low, self._settled = self._first[0], True
            self._advance(seen, oldest_running, next_transaction)

    def _advance(self, seen: Iterable[int], oldest_running: int, next_transaction: int) -> None:
        """Raise the low-water id; what it skips becomes holes, and holes that nobody can fill any more go."""
        seen = set(seen)
        highest = max(seen, default=0)
        for hole, horizon in list(self.holes.items()):
            if hole in seen or (horizon is not None and oldest_running >= horizon):
                del self.holes[hole]
        if highest <= self.low:
            return
        if highest - self.low - len(seen) > MOST_HOLES:
            self.restart()
            return
        for hole in range(self.low + 1, highest):
            if hole not in seen:
                self.holes[hole] = next_transaction
        self.low = highest


def waiting_on(alias: str) -> Waiting:
    """Return the way of reading that suits the database."""
    return AboveLowWater(alias) if connections[alias].vendor == "postgresql" else FromTheStart(alias)


_PLAIN: Final = f"""kind = 'event' and (o.user_key is null or exists (
    select 1 from {Recipient._meta.db_table} r where r.user_key = o.user_key))"""

# One statement is one snapshot: what it does not show of a transaction that ended before it was rolled back.
_READ: Final = f"""
with snapshot as materialized (
    select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as next
    from pg_current_snapshot() s)
select snapshot.oldest, snapshot.next, waiting.id, waiting.plain
from snapshot left join (
    (select o.id, {_PLAIN} as plain from {Outbox._meta.db_table} o
     where o.failed_at is null and o.id = any(%s::bigint[]))
    union
    (select o.id, {_PLAIN} as plain from {Outbox._meta.db_table} o
     where o.failed_at is null and o.id > %s order by o.id limit %s)
) waiting on true
"""
