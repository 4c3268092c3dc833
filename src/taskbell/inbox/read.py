"""Reading inboxes: the table and what still waits in the outbox, so that nothing is missing right after `notify`."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import QuerySet
from django.utils import timezone

from taskbell.ground.cursor import MAX_SEQ, Cursor
from taskbell.inbox.box import Box, Counts
from taskbell.inbox.fold import count_in_table, rows_in_table
from taskbell.inbox.notify import NOTIFY
from taskbell.inbox.rows import SEEN, UNREADABLE, Mark, from_mark, to_listed_json, to_mark, to_notification
from taskbell.models import Notification, Outbox
from taskbell.store.log import place_of_head
from taskbell.store.outbox import insert, key_of
from taskbell.store.people import forgotten_upto, recipient_of

MOST_NOTIFICATIONS: Final = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a person's notifications, newest first; how many are unread of all; the cursor at which this is true."""

    notifications: Sequence[Notification]
    unread: int
    cursor: str

    def as_json(self) -> dict[str, Any]:
        """Return what the HTTP API answers."""
        listed = [to_listed_json(row) for row in self.notifications]
        return {"notifications": listed, "unread": self.unread, "cursor": self.cursor}


def list_notifications(user: AbstractBaseUser, limit: int = 20, before: UUID | None = None) -> Page:
    """Return the person's newest notifications, or the newest of those older than the one with the id `before`.

    With a `before` that is not theirs, or not any more, there are none.
    """
    look = _Look.at(user)
    seq = look.seq_of(before) if before is not None else MAX_SEQ
    stored = list(look.table.filter(seq__lt=seq).order_by("-seq")[:limit])
    box = look.box(stored)
    waiting = [row for row in reversed(box.rows.values()) if row.seq == 0]
    if before is not None:
        at = next((at for at, row in enumerate(waiting) if row.id == before), len(waiting))
        waiting = waiting[at + 1 :]
    return Page([*waiting, *stored][:limit], box.unread, str(look.place) if look.place else "")


def mark(user: AbstractBaseUser, mark: Mark) -> int:
    """Note in the open transaction what the person has seen or read; return how many will be unread then.

    Ids that are not theirs change nothing, and what is marked already is not marked again.
    """
    look = _Look.at(user)
    box = look.box(ids=mark.ids)
    box.look_at_everything()
    if box.mark(mark, timezone.now()) is not None:
        insert([from_mark(mark, key_of(user))])
    return box.unread


@dataclass(frozen=True, slots=True)
class _Look:
    """One look at a person's inbox. In this order: what is folded meanwhile is seen twice and never missed."""

    place: Cursor | None
    waiting: Sequence[Notification | Mark]
    recipient: UUID | None
    alias: str

    @classmethod
    def at(cls, user: AbstractBaseUser) -> "_Look":
        alias, user_key = router.db_for_read(Notification), key_of(user)
        place = place_of_head(alias)
        rows = Outbox.objects.using(alias).filter(kind__in=(NOTIFY, SEEN), user_key=user_key, failed_at=None)
        waiting = _read(rows.filter(id__gt=forgotten_upto(user_key, alias)).order_by("id"))
        return cls(place, waiting, recipient_of(user_key, alias), alias)

    @property
    def table(self) -> QuerySet[Notification]:
        rows = Notification.objects.using(self.alias)
        return rows.filter(recipient=self.recipient) if self.recipient is not None else rows.none()

    def seq_of(self, id: UUID) -> int:
        """Return the place of a notification: above all others while it waits, below all if there is none."""
        seq = self.table.filter(id=id).values_list("seq", flat=True).first()
        if seq is not None:
            return seq
        return MAX_SEQ if any(isinstance(what, Notification) and what.id == id for what in self.waiting) else 0

    def box(self, rows: Iterable[Notification] = (), ids: Iterable[UUID] = ()) -> Box:
        """Return the inbox as it is once everything is folded that waits; it has those `rows` and `ids`."""
        horizon = self.place.seq if self.place else MAX_SEQ
        known = {row.id: row for row in [*self._named(ids), *rows]}
        box = Box(known.values(), self._counts(0), horizon=horizon, beyond=self._counts(horizon))
        now = timezone.now()
        for what in self.waiting:
            if isinstance(what, Mark):
                box.mark(what, now)
            else:
                box.add(what)
        return box

    def _named(self, ids: Iterable[UUID]) -> Iterable[Notification]:
        if self.recipient is None:
            return []
        new = [what for what in self.waiting if isinstance(what, Notification)]
        marked = {id for what in self.waiting if isinstance(what, Mark) for id in what.ids}
        keys = [(self.recipient, row.key) for row in new if row.key is not None]
        return rows_in_table([self.recipient], {*ids, *marked, *(row.id for row in new)}, keys, self.alias)

    def _counts(self, after: int) -> Counts:
        if self.recipient is None or after == MAX_SEQ:
            return Counts()
        return count_in_table([self.recipient], self.alias, after=after).get(self.recipient, Counts())


def _read(rows: QuerySet[Outbox]) -> list[Notification | Mark]:
    said: list[Notification | Mark] = []
    for row in rows:
        with suppress(*UNREADABLE):  # the tick sets it aside and says so
            said.append(to_notification(row) if row.kind == NOTIFY else to_mark(row))
    return said
