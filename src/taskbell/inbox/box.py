"""One person's inbox in memory, pure: for the tick, which folds many rows, and for readers, who look ahead.

It knows the notifications that something is said about, and of all others how many are unread. "All" means what came
before it in the outbox, so everything is taken in that order.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from taskbell.ground.cursor import MAX_SEQ
from taskbell.inbox.rows import Mark
from taskbell.models import Notification


@dataclass(frozen=True, slots=True)
class Counts:
    """How many notifications of a person are not read, and not even seen."""

    unread: int = 0
    unseen: int = 0


class Box:
    """What is known of one inbox. `rows` are changed as marks are taken; those with `seq` 0 are in no table yet.

    A reader does not know whether what was numbered after `horizon` came before or after a mark that it found waiting,
    so such a mark for all leaves out these, `beyond`: if it was meant for them too, the stream will say so.
    """

    def __init__(
        self,
        known: Iterable[Notification],
        counts: Counts,
        *,
        horizon: int = MAX_SEQ,
        beyond: Counts = Counts(),
    ) -> None:
        self.rows = {row.id: row for row in known}
        self._keys = {row.key for row in self.rows.values()} - {None}
        self.unread, self.unseen = counts.unread, counts.unseen
        self._horizon = horizon
        self._unread_beyond, self._unseen_beyond = beyond.unread, beyond.unseen

    def add(self, row: Notification) -> bool:
        """Take a new notification; False if it is here already, or one with its key."""
        if row.id in self.rows or row.key in self._keys:
            return False
        self.rows[row.id] = row
        if row.key is not None:
            self._keys.add(row.key)
        self.unread += 1
        self.unseen += 1
        return True

    def mark(self, mark: Mark, now: datetime) -> list[Notification] | None:
        """Return which of `rows` this changes, None if it changes nothing at all."""
        return self._mark_all(mark, now) if mark.all else self._mark_some(mark, now) or None

    def look_at_everything(self) -> None:
        """From here on "all" means all: what is marked now comes after whatever is in the table."""
        self._horizon, self._unread_beyond, self._unseen_beyond = MAX_SEQ, 0, 0

    def _mark_some(self, mark: Mark, now: datetime) -> list[Notification]:
        found = [self.rows[id] for id in dict.fromkeys(mark.ids) if id in self.rows]
        return [row for row in found if self._set(row, mark, now)]

    def _mark_all(self, mark: Mark, now: datetime) -> list[Notification] | None:
        before = self.unread, self.unseen
        changed = [row for row in self.rows.values() if not self._is_beyond(row) and self._set(row, mark, now)]
        # Those that are not here are marked in the table.
        self.unseen = self._unseen_beyond
        if mark.read:
            self.unread = self._unread_beyond
        return changed if (self.unread, self.unseen) != before else None

    def _set(self, row: Notification, mark: Mark, now: datetime) -> bool:
        if (row.read_at if mark.read else row.seen_at) is not None:
            return False
        beyond = self._is_beyond(row)
        if row.seen_at is None:
            row.seen_at, row.push_at = now, None
            self.unseen -= 1
            self._unseen_beyond -= beyond
        if mark.read:
            row.read_at = now
            self.unread -= 1
            self._unread_beyond -= beyond
        return True

    def _is_beyond(self, row: Notification) -> bool:
        return row.seq > self._horizon
