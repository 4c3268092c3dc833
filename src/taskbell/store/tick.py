"""The tick: committed outbox rows become numbered log rows, in one short transaction under the head's lock."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db import connections, router
from django.utils import timezone

from taskbell import faults
from taskbell.counts import count
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
# An account created in another transaction than its event may be committed a little later; longer is a mistake.
ACCOUNT_SECONDS: Final = 60.0
# How often a row whose account is not visible yet is looked at again.
KEEP_SECONDS: Final = 1.0
# A ticker that is stopped inside its transaction loses it, and with it the head's lock, after this long.
IDLE_IN_TRANSACTION: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Moved:
    """The rows that this tick numbered, in order. `before` is the head it found.

    None when nothing waited, or nothing that takes a number; `more` tells to tick again at once, even then.
    """

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
        # Rows whose account is not visible yet, and when this ticker first saw each: writers' clocks may be wrong.
        self._kept: dict[int, float] = {}
        self._look_again_at = 0.0
        # While a fold refuses a batch: where to cut it.
        self._below: int | None = None

    def tick(self) -> Answer:
        """Number what waits and answer `Moved`, `Busy` or `NoHead`; after a database error it starts afresh."""
        try:
            answer = self._tick()
            self._below = None
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
        if self._below is not None:
            ids, _ = self._waiting.read(BATCH_ROWS, self._kept)
            return self._with_folds([id for id in ids if id < self._below], more=True)
        seen = plain.move_what_waits(self._waiting, BATCH_ROWS, self._kept, new_token())
        more = len(seen.ids) - len(self._kept) >= BATCH_ROWS
        if seen.moved is not None:
            self._kept = {}
            return Moved(*seen.moved, more)
        nothing_new = all(id in self._kept for id in seen.ids)
        # All or nothing: a kept row goes before what its person was sent later.
        if nothing_new and (not seen.ids or self._clock() < self._look_again_at):
            return Moved()
        return self._not_moved() if seen.all_plain else self._with_folds(seen.ids, more)

    def _not_moved(self) -> Answer:
        return Busy() if read_head(self.alias) else NoHead()

    def _with_folds(self, ids: list[int], more: bool) -> Answer:
        with write_transaction(self.alias):
            self._bound_idle_time()
            head = lock_head(self.alias)
            if head is None:
                return self._not_moved()
            sifted = sift(ids, self.alias, self._waited())
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

    def _waited(self) -> set[int]:
        oldest = self._clock() - ACCOUNT_SECONDS
        return {id for id, seen in self._kept.items() if seen <= oldest}

    def _narrow(self, refused: FoldRefused) -> None:
        """Cut the next batch in the middle of what was refused; a row that is refused alone is set aside."""
        if len(refused.rows) > 1:
            self._below = refused.rows[len(refused.rows) // 2]
            return
        faults.error("Outbox row %s is set aside: %s %r", refused.rows[0], refused, refused.__cause__)
        Outbox.objects.using(self.alias).filter(id__in=refused.rows).update(failed_at=timezone.now())
        self.failed += 1
        self._below = None

    def _remember(self, sifted: Sifted) -> None:
        self.failed += len(sifted.failed)
        self.dropped += sifted.dropped
        count("events_dropped_total", by=sifted.dropped)
        now = self._clock()
        self._kept = {id: self._kept.get(id, now) for id in sifted.kept}
        self._look_again_at = now + KEEP_SECONDS

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
