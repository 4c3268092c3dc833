"""Which outbox rows wait. On most databases: all of them. On PostgreSQL: above a low-water id.

PostgreSQL keeps deleted rows until no snapshot needs them, so under a long snapshot (pg_dump) a read from the
start would walk over every row already moved. It therefore reads above the highest id seen. But ids are taken
before commit: an id below that was never seen may still be committed. Such ids are holes, and are read with
every batch until every transaction that could have taken them has ended.

Which transactions those are is read from `pg_locks`: an INSERT locks the table before it takes an id, and until its
transaction ends. A snapshot cannot tell, because an INSERT takes its id before its transaction number. (Tried: with
16 writers on two cores that moment was hit several times in eight seconds, and rows came up to ten seconds late.)
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import Any, Final

from django.db import connections

from taskbell.models import Outbox, Recipient
from taskbell.store.prepared import Prepared, Rows

# A rolled-back burst leaves this many ids that nobody will ever commit; beyond it a scan from the start is cheaper.
MOST_HOLES: Final = 10_000
# PREPARE TRANSACTION hands a writer's locks to a name of this form, which is not the one that was noted.
PREPARED: Final = "-1/"
# Ids can begin anew (a flush that resets sequences, a restored copy): now and then everything is read.
FULL_SCAN_SECONDS: Final = 10.0


class Waiting(ABC):
    """The ids that wait, lowest first; one object a ticker."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @abstractmethod
    def read(self, limit: int, kept: Collection[int] = ()) -> tuple[list[int], bool]:
        """Return up to `limit` new ids, and whether all are events whose channel is known.

        `kept` are ids that were returned before and left in the outbox; those that are still there come again.
        """

    def restart(self) -> None:
        """Forget what was seen; the next read starts from the lowest id."""


class FromTheStart(Waiting):
    """Every row, every time: where one lock orders all writers, ids appear in order and deleted rows are gone."""

    def read(self, limit: int, kept: Collection[int] = ()) -> tuple[list[int], bool]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(_READ_ALL, [limit + len(kept)])
            found = cursor.fetchall()
        return [id for id, _ in found], all(plain for _, plain in found)


class AboveLowWater(Waiting):
    """PostgreSQL: ids above the highest seen, and the holes below it."""

    def __init__(self, alias: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(alias)
        self.clock = clock
        self.restart()

    def restart(self) -> None:
        self.low = 0
        #: Ids below the low-water one that were never seen, and the transactions one of which may have taken it.
        self.holes: dict[int, frozenset[str]] = {}
        self.settled = False
        self._first: tuple[int, frozenset[str]] | None = None
        self._writing: frozenset[str] = frozenset()
        self._full_scan_at = self.clock() + FULL_SCAN_SECONDS

    def read(self, limit: int, kept: Collection[int] = ()) -> tuple[list[int], bool]:
        found: dict[int, bool] = dict(self.look(_READ_ABOVE, limit, kept))
        return sorted(found), all(found.values())

    def look(self, statement: Prepared, limit: int, kept: Collection[int] = (), *values: Any) -> Rows:
        """Read what waits by a statement with READ's columns first and its values first; the other `values` follow."""
        full = not self.settled or self.clock() >= self._full_scan_at
        if full:
            self._full_scan_at = self.clock() + FULL_SCAN_SECONDS
        rows = statement.ask(self.alias, [[*self.holes, *kept], 0 if full else self.low, limit + len(kept), *values])
        found = {row[0] for row in rows}
        if any(id <= self.low and id not in self.holes and id not in kept for id in found):
            self.restart()
        self._learn(found, whole=len(found) < limit)
        return rows

    def _learn(self, seen: Collection[int], *, whole: bool) -> None:
        """Close holes that were filled or whose every possible writer had ended before this read; note new ones.

        `whole` is False where a limit may have cut the read short.
        """
        highest = max(seen, default=0)
        self.holes = {
            hole: writers for hole, writers in self.holes.items() if hole not in seen and not self._have_ended(writers)
        }
        if whole or (self._first and highest >= self._first[0]):
            self._settle()
        unseen = highest - self.low - sum(id > self.low for id in seen) if self.settled else 0
        if len(self.holes) + unseen > MOST_HOLES:
            self.restart()
            return
        # Asked after the read, so whoever may fill what it did not show is among these, or shows in the next.
        unsure = unseen > 0 or self.holes or (highest and not self.settled) or self._first
        self._writing = self._writers() if unsure else frozenset()
        if self.settled and highest > self.low:
            self.holes |= {id: self._writing for id in range(self.low + 1, highest) if id not in seen}
            self.low = highest
        elif highest and not self.settled:
            self._first = self._first or (highest, self._writing)

    def _settle(self) -> None:
        """Leave the scan from the start once every transaction of the first sighting has ended.

        All ids below the highest one of that sighting were taken before it, so from then on none can appear.
        """
        if self._first and self._have_ended(self._first[1]):
            self.low, self.settled, self._first = self._first[0], True, None

    def _have_ended(self, writers: frozenset[str]) -> bool:
        """Whether none of these was writing before the last read; a prepared transaction may be any of them."""
        return writers.isdisjoint(self._writing) and not any(one.startswith(PREPARED) for one in self._writing)

    def _writers(self) -> frozenset[str]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(_WRITERS)
            return frozenset(row[0] for row in cursor.fetchall())


def waiting_on(alias: str) -> Waiting:
    """Return the way of reading that suits the database."""
    return AboveLowWater(alias) if connections[alias].vendor == "postgresql" else FromTheStart(alias)


_PLAIN: Final = f"""kind = 'event' and (o.user_key is null or exists (
    select 1 from {Recipient._meta.db_table} r where r.user_key = o.user_key and r.since is null))"""

# As text: an idle gateway asks this hundreds of times a second, and Django would take longer to build the query.
_READ_ALL: Final = f"""
select o.id, {_PLAIN} from {Outbox._meta.db_table} o where o.failed_at is null order by o.id limit %s
"""
#: Ids that wait, and whether each is a plain event: of these ids, and above this one, so many.
READ: Final = f"""
(select o.id, {_PLAIN} as plain from {Outbox._meta.db_table} o
 where o.failed_at is null and o.id = any(%s::bigint[]))
union
(select o.id, {_PLAIN} as plain from {Outbox._meta.db_table} o
 where o.failed_at is null and o.id > %s order by o.id limit %s)
"""
_READ_ABOVE: Final = Prepared(READ)
_WRITERS: Final = f"""
select virtualtransaction from pg_locks
where locktype = 'relation' and relation = '{Outbox._meta.db_table}'::regclass and mode = 'RowExclusiveLock'
and database = (select oid from pg_database where datname = current_database())
"""
