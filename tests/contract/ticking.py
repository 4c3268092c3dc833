"""What the store's contract tests share: a ticker by a clock of its own, and what it moved."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from taskbell.models import Outbox, Recipient
from taskbell.store.log import LogRow
from taskbell.store.tick import Moved, Ticker

ALIAS = "default"
committing = pytest.mark.django_db(transaction=True)

User = get_user_model()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def moved(ticker: Ticker) -> list[LogRow]:
    answer = ticker.tick()
    assert isinstance(answer, Moved), answer
    return list(answer.rows)


def moved_while_more(ticker: Ticker) -> list[LogRow]:
    """Tick as a gateway does, for as long as there is more; within some hundred ticks that must end."""
    rows: list[LogRow] = []
    for _ in range(200):
        answer = ticker.tick()
        assert isinstance(answer, Moved), answer
        rows += answer.rows
        if not answer.more:
            return rows
    raise AssertionError("there is always more")


def payloads(rows: list[LogRow]) -> list[Any]:
    return [json.loads(row.payload) for row in rows]


def payloads_waiting() -> list[Any]:
    return [json.loads(payload) for payload in Outbox.objects.order_by("id").values_list("payload", flat=True)]


def channel_of(user: Any) -> str:
    return Recipient.objects.get(user_key=str(user.pk)).channel
