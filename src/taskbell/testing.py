"""For the tests of projects: what was published, inside a `TestCase` and its never-ending transaction.

with taskbell.testing.capture() as published:
    client.post("/photos/42/share/")
assert published.to(friend) == [("message", {"photo": 42})]
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router
from django.db.models import Max

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


class Capture:
    """What has been published since the capture began, and was not rolled back."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._after = Outbox.objects.using(alias).aggregate(newest=Max("id"))["newest"] or 0
        self._ended: list[Published] | None = None

    @property
    def events(self) -> list[Published]:
        """Every event in the order of publication."""
        return self._read() if self._ended is None else self._ended

    def to(self, who: AbstractBaseUser | str) -> list[tuple[str, Any]]:
        """Return `(type, payload)` of the events for a user object or a channel."""
        key = ("channel", who) if isinstance(who, str) else ("user_key", key_of(who))
        return [(event.type, event.payload) for event in self.events if getattr(event, key[0]) == key[1]]

    def __len__(self) -> int:
        return len(self.events)

    def _read(self) -> list[Published]:
        rows = Outbox.objects.using(self._alias).filter(id__gt=self._after, kind=EVENT).order_by("id")
        rows = rows.exclude(channel=CONTROL_CHANNEL)
        return [Published(row.type, json.loads(row.payload), row.channel, row.user_key) for row in rows]

    def end(self) -> None:
        """Keep what was published so far, whatever happens to the outbox."""
        self._ended = self._read()


@contextmanager
def capture() -> Iterator[Capture]:
    """Capture the events that are published inside, from any code of this test."""
    captured = Capture(router.db_for_write(Outbox))
    yield captured
    captured.end()


def deliver() -> int:
    """Do what a gateway would: number what was published and fold what tasks told; return the number of log rows."""
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
