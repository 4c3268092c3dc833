"""For the tests of projects: what was published and who was notified, inside a `TestCase` and its endless transaction.

with taskbell.testing.capture() as published:
    client.post("/photos/42/share/")
assert published.to(friend) == [("message", {"photo": 42})]
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import Max, QuerySet

from taskbell.announcer import announce
from taskbell.inbox.message import BOTH
from taskbell.inbox.notify import NOTIFY
from taskbell.models import Outbox
from taskbell.store.control import CONTROL_CHANNEL
from taskbell.store.head import create_head
from taskbell.store.outbox import EVENT, key_of
from taskbell.store.tick import Busy, NoHead, Ticker


@dataclass(frozen=True, slots=True)
class Published:
    """One published event: to a `channel`, or to the person whose primary key as text is `user_key`."""

    type: str
    payload: Any
    channel: str | None = None
    user_key: str | None = None


@dataclass(frozen=True, slots=True)
class Notified:
    """One notification, for the person whose primary key as text is `user_key`; the rest is what `notify` got."""

    user_key: str
    title: str
    body: str = ""
    url: str = ""
    level: str = "info"
    kind: str = ""
    key: str | None = None
    run: str | None = None
    via: Sequence[str] = BOTH


_SAID: Final = tuple(field.name for field in fields(Notified) if field.name != "user_key")


class Capture:
    """What has been published, and left in inboxes, since the capture began, and was not rolled back."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._after = Outbox.objects.using(alias).aggregate(newest=Max("id"))["newest"] or 0
        self._ended: tuple[list[Published], list[Notified]] | None = None

    @property
    def events(self) -> list[Published]:
        """Every event in the order of publication."""
        return self._look()[0]

    def notifications(self, user: AbstractBaseUser | None = None) -> list[Notified]:
        """Return what `notify` was called with, in order: for one person, or for all."""
        key = key_of(user) if user is not None else None
        return [one for one in self._look()[1] if key in (None, one.user_key)]

    def to(self, who: AbstractBaseUser | str) -> list[tuple[str, Any]]:
        """Return `(type, payload)` of the events for a user object or a channel."""
        key = ("channel", who) if isinstance(who, str) else ("user_key", key_of(who))
        return [(event.type, event.payload) for event in self.events if getattr(event, key[0]) == key[1]]

    def __len__(self) -> int:
        return len(self.events)

    def _look(self) -> tuple[list[Published], list[Notified]]:
        return self._ended or (self._published(), self._notified())

    def _published(self) -> list[Published]:
        rows = self._rows(EVENT).exclude(channel=CONTROL_CHANNEL)
        return [Published(row.type, json.loads(row.payload), row.channel, row.user_key) for row in rows]

    def _notified(self) -> list[Notified]:
        said = [(row.user_key or "", json.loads(row.payload)) for row in self._rows(NOTIFY)]
        return [Notified(user_key, **{name: values[name] for name in _SAID}) for user_key, values in said]

    def _rows(self, kind: str) -> QuerySet[Outbox]:
        return Outbox.objects.using(self._alias).filter(id__gt=self._after, kind=kind).order_by("id")

    def end(self) -> None:
        """Keep what was said so far, whatever happens to the outbox."""
        self._ended = self._look()


@contextmanager
def capture() -> Iterator[Capture]:
    """Capture the events and notifications of what is done inside, from any code of this test."""
    captured = Capture(router.db_for_write(Outbox))
    yield captured
    captured.end()


def deliver() -> int:
    """Do what a gateway would: number what was published, fold what tasks told and what was left in inboxes, and send
    signals to receivers; return the number of log rows.
    """
    alias = router.db_for_write(Outbox)
    ticker, moved = Ticker(alias), 0
    while True:
        answer = ticker.tick()
        if isinstance(answer, NoHead):
            create_head(alias)
        elif isinstance(answer, Busy):
            raise RuntimeError("Another ticker holds the head; is a gateway running on the test database?")
        elif not (answer.rows or answer.more):
            return moved
        else:
            moved += len(answer.rows)
            for row in answer.rows:
                announce(row, alias)
