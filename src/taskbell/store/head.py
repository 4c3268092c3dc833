"""The head: the one row that orders everything. It is created on demand, because `flush` deletes it."""

from dataclasses import dataclass
from typing import Final

from django.db import connections
from django.db.models import Max

from taskbell.ground.cursor import new_token
from taskbell.models import Log, LogHead

ONE: Final = 1


@dataclass(frozen=True, slots=True)
class Head:
    """Where the log stands: newest number, oldest replayable number, name of this history."""

    seq: int
    floor: int
    log_id: str


def read_head(alias: str) -> Head | None:
    """Return the head, or None where nobody has created it yet."""
    return _head(alias, _READ)


def lock_head(alias: str) -> Head | None:
    """Lock the head for the rest of this transaction; None when another ticker holds it or there is none.

    On a database without SKIP LOCKED (SQLite) the transaction itself, begun IMMEDIATE, is the lock.
    """
    connection = connections[alias]
    if not connection.features.has_select_for_update:
        return _head(alias, _READ)
    skip = connection.features.has_select_for_update_skip_locked
    return _head(alias, f"{_READ} {connection.ops.for_update_sql(skip_locked=skip)}")


def create_head(alias: str) -> None:
    """Create the head above every numbered row, under a new name; harmless when it exists."""
    newest = Log.objects.using(alias).aggregate(newest=Max("seq"))["newest"] or 0
    head = LogHead(one=ONE, seq=newest, floor=max(newest, 1), log_id=new_token())
    LogHead.objects.using(alias).bulk_create([head], ignore_conflicts=True)


def new_epoch(alias: str) -> str:
    """Give the log a new name, so that every open stream and every cursor is told `reset`; return the name."""
    create_head(alias)
    name = new_token()
    LogHead.objects.using(alias).filter(one=ONE).update(log_id=name)
    return name


def _head(alias: str, statement: str) -> Head | None:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    return Head(*row) if row else None


# As text: building the query took Django two thirds of a tick, and on SQLite every writer waited for it.
_READ: Final = f"select seq, floor, log_id from {LogHead._meta.db_table} where one = {ONE}"
