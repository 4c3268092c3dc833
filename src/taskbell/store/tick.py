"""The tick: committed outbox rows become numbered log rows, in one short transaction under the head's lock."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db import connections, router
from django.utils import timezone

from taskbell.ground.cursor import new_token
from taskbell.models import LogHead, Outbox
from taskbell.store import plain
from taskbell.store.head import ONE, Head, lock_head, read_head
from taskbell.store.log import LogRow, append
from taskbell.store.sift import FoldRefused, Sifted, sift
from taskbell.store.waiting import waiting_on
from taskbell.store.write_lock import write_transaction

# One batch of rows of the usual size is a few milliseconds under the lock.
BATCH_ROWS: Final = 1_000
# How often a row whose account is not visible yet is looked at again.
KEEP_SECONDS: Final = 1.0
# A ticker that is stopped inside its transaction loses it, and with it the head's lock, after this long.
IDLE_IN_TRANSACTION: Final = timedelta(seconds=2)

logger = logging.getLogger("taskbell")


@dataclass(frozen=True, slots=True)
class Moved:
    """The rows that this tick numbered, in order; none when nothing waited. `before` is the head it found."""

    before: Head | None = None
    rows: Sequence[LogRow] = ()
    more: bool = False

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class Busy:
    """Another ticker is at it."""


@dataclass(frozen=True, slots=True)
class NoHead:
    """The head is missing: create it (`store.head.create_head`) and tick again."""


Answer = Moved | Busy | NoHead


class Ticker:
    """Ticks on the connection of the thread that calls it. Remembers what it saw, so keep one object a thread."""

    def __init__(self, alias: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.alias = alias or router.db_for_write(Outbox)
        self.failed = 0
        self.dropped = 0
        self._clock = clock
        self._waiting = waiting_on(self.alias)
        self._left_at: tuple[str, int] | None = None
        self._kept: dict[int, float] = {}
        self._batch = BATCH_ROWS

    def tick(self) -> Answer:
        """Number what waits and answer `Moved`, `Busy` or `NoHead`; after a database error it starts afresh."""
        try:
            answer = self._tick()
            self._batch = BATCH_ROWS
        except FoldRefused as refused:
            self._waiting.restart()
            self._narrow(refused)
            return Moved(more=True)
        except BaseException:
            self._waiting.restart()
            raise
        if not isinstance(answer, Moved) or not self._continues(answer):
            self._waiting.restart()
        return answer

    def _tick(self) -> Answer:
        ids, are_plain = self._waiting.read(self._batch, self._kept)
        # All or nothing: a kept row goes before what its person was sent later.
        if all(self._kept.get(id, 0) > self._clock() for id in ids):
            return Moved()
        more = len(ids) - len(self._kept) >= self._batch
        moved = self._plainly(ids, more) if are_plain else self._with_folds(ids, more)
        if moved is not None:
            return moved
        return Busy() if read_head(self.alias) else NoHead()

    def _plainly(self, ids: list[int], more: bool) -> Moved | None:
        found = plain.move(self.alias, ids, new_token())
        if found is None:
            return None
        self._kept = {}
        return Moved(*found, more)

    def _with_folds(self, ids: list[int], more: bool) -> Moved | None:
        with write_transaction(self.alias):
            self._bound_idle_time()
            head = lock_head(self.alias)
            if head is None:
                return None
            sifted = sift(ids, self.alias)
            rows = self._number(sifted, head)
            Outbox.objects.using(self.alias).filter(id__in=sifted.spent).delete()
            Outbox.objects.using(self.alias).filter(id__in=sifted.failed).update(failed_at=timezone.now())
        self._remember(sifted)
        return Moved(head, rows, more)

    def _number(self, sifted: Sifted, head: Head) -> list[LogRow]:
        nonce = new_token()
        rows = [
            LogRow(seq, nonce, channel, entry.type, entry.payload, entry.latest_key)
            for seq, (entry, channel) in enumerate(sifted.entries, start=head.seq + 1)
        ]
        if rows:
            append(rows, self.alias)
            LogHead.objects.using(self.alias).filter(one=ONE).update(seq=rows[-1].seq)
            sifted.tell_folds(head.seq + 1, self.alias)
        return rows

    def _narrow(self, refused: FoldRefused) -> None:
        """Halve the batch until the row that its fold cannot write stands alone, and set that one aside."""
        if len(refused.rows) > 1:
            self._batch = max(1, self._batch // 2)
            return
        logger.error("Outbox row %s is set aside: %s", refused.rows[0], refused, exc_info=refused.__cause__)
        Outbox.objects.using(self.alias).filter(id__in=refused.rows).update(failed_at=timezone.now())
        self.failed += 1
        self._batch = BATCH_ROWS

    def _remember(self, sifted: Sifted) -> None:
        self.failed += len(sifted.failed)
        self.dropped += sifted.dropped
        self._kept = dict.fromkeys(sifted.kept, self._clock() + KEEP_SECONDS)

    def _continues(self, moved: Moved) -> bool:
        if moved.before is None:
            return True
        found, expected = (moved.before.log_id, moved.before.seq), self._left_at
        self._left_at = (moved.before.log_id, moved.rows[-1].seq if moved.rows else moved.before.seq)
        return expected in (None, found)

    def _bound_idle_time(self) -> None:
        if connections[self.alias].vendor == "postgresql":
            with connections[self.alias].cursor() as cursor:
                milliseconds = int(IDLE_IN_TRANSACTION.total_seconds() * 1000)
                cursor.execute(
                    "select set_config('idle_in_transaction_session_timeout', %s, true)", [str(milliseconds)]
                )
