"""Folds for tests: what to do with a fact is written in the fact."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from taskbell.models import Outbox
from taskbell.store import folds
from taskbell.store.folds import Entry, Fold, Numbered
from taskbell.store.outbox import insert

Step = Callable[[Outbox, str], list[Entry]]


def as_event(row: Outbox, using: str) -> list[Entry]:
    """Make one event of a fact, to whom the fact was addressed."""
    return [entry(row)]


def entry(row: Outbox, **changes: Any) -> Entry:
    fields = {"at": row.id, "type": row.type, "payload": row.payload, "latest_key": row.latest_key}
    return Entry(**fields | {"channel": row.channel, "user_key": row.user_key} | changes)


class Recording(Fold):
    """Folds by `step`, row by row, and remembers what it was asked and told."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.batches: list[list[int]] = []
        self.told: list[list[tuple[int, str]]] = []

    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        self.batches.append([row.id for row in rows])
        return [made for row in rows for made in self.step(row, using)]

    def numbered(self, entries: Sequence[Numbered], using: str) -> None:
        self.told.append([(one.seq, json.loads(one.entry.payload)) for one in entries])


@contextmanager
def folding(kind: str, step: Step = as_event, fold: Recording | None = None) -> Iterator[Recording]:
    """Have facts of `kind` folded by `step`, or by a fold of another make."""
    fold = fold or Recording(step)
    folds.register(kind, fold)
    try:
        yield fold
    finally:
        folds.unregister(kind)


def fact(kind: str, payload: Any, **fields: Any) -> Outbox:
    """Put a fact into the outbox, for the channel `public:facts` unless another is named."""
    row = Outbox(kind=kind, payload=json.dumps(payload), **{"channel": "public:facts", "type": "fact"} | fields)
    insert([row])
    return row
