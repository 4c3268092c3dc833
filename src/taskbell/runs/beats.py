"""Which workers are dead: those whose beat did not move for a whole lease while this process was watching.

Time counts by this process's own monotonic clock, and only while beating was possible. So neither a stepped clock, nor
a frozen gateway, nor a database that was away, locked or full makes a living worker look dead.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import F

from taskbell.conf import current
from taskbell.models import Worker

# A look that comes or takes longer than this was frozen, or the database was: what was seen before counts no more.
STALL_SECONDS: Final = 5.0
# A look that takes longer than this waited for the database, as a beat would have: that time does not count.
SLOW_SECONDS: Final = 1.0
# Of a lease. A living worker has beaten by then, but for one or two beats that went wrong.
SUSPECT_AFTER: Final = 0.5


@dataclass(slots=True)
class _Sighting:
    beat: int | None
    since: float


class Beats:
    """What was seen of the workers; `still` is asked about once a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[UUID, _Sighting] = {}
        self._looked_at = float("-inf")

    def still(self, workers: Collection[UUID], alias: str) -> list[UUID]:
        """Return those of the workers that are dead; one without a row is as good as one that does not beat."""
        try:
            beats = self._look(workers, alias)
        except BaseException:
            self._seen.clear()
            raise
        self._seen = {id: self._sighting(id, beats.get(id)) for id in workers}
        dead_since = self._looked_at - current().LEASE
        return [id for id, seen in self._seen.items() if seen.since <= dead_since]

    def _look(self, workers: Collection[UUID], alias: str) -> dict[UUID, int]:
        began = self._clock()
        if began - self._looked_at > STALL_SECONDS:
            self._seen.clear()
        self._try_to_write(alias)
        beats = dict(Worker.objects.using(alias).filter(id__in=workers).values_list("id", "beat"))
        self._looked_at = self._clock()
        self._discount(self._looked_at - began)
        return beats

    def _try_to_write(self, alias: str) -> None:
        """Do for a suspect what it seems to fail to do: where reading goes on, writing may be impossible all the same.

        SQLite's one lock may be held, the disk full, the server a standby for a while.
        """
        suspected_since = self._clock() - SUSPECT_AFTER * current().LEASE
        suspects = [id for id, seen in self._seen.items() if seen.since <= suspected_since]
        if suspects:
            Worker.objects.using(alias).filter(id__in=suspects).update(beat=F("beat"))

    def _discount(self, took: float) -> None:
        if took > STALL_SECONDS:
            self._seen.clear()
        elif took > SLOW_SECONDS:
            for seen in self._seen.values():
                seen.since += took

    def _sighting(self, id: UUID, beat: int | None) -> _Sighting:
        seen = self._seen.get(id)
        return seen if seen is not None and seen.beat == beat else _Sighting(beat, self._looked_at)
