"""Statements that a gateway asks hundreds of times a second: PostgreSQL plans each once, and not every time.

By SQL's own PREPARE, under a name made from the statement. A pooler that gives each transaction another session may
answer that there is no such statement, and from then on it is asked as ever; but it can never run another one, as the
numbered ones of a driver can.
"""

import re
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

# A plan is made for a table as large as it was then, and may read all of one that has grown since.
PLAN_SECONDS: Final = 10.0
# SQLSTATE: no statement of this name, or one that this connection has not made.
UNKNOWN: Final = ("26000", "42P05")

Rows = list[tuple[Any, ...]]


class Prepared:
    """One statement with `%s` for its values, asked on the connection of the thread that asks."""

    def __init__(self, statement: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.statement = statement
        self.name = f"taskbell_{sha256(statement.encode()).hexdigest()[:16]}"
        self._clock = clock
        #: When it was last planned, by the driver's connection.
        self._planned: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._in_vain: set[str] = set()

    def ask(self, alias: str, values: Sequence[Any]) -> Rows:
        """Return the rows of the answer."""
        connection = connections[alias]
        if alias in self._in_vain or not _keeps_statements(connection):
            return _rows(connection, self.statement, values)
        try:
            self._plan(connection)
            return _rows(connection, f"execute {self.name} ({', '.join(['%s'] * len(values))})", values)
        except DatabaseError as error:
            if _state(error) not in UNKNOWN:
                raise
            self._in_vain.add(alias)
            return _rows(connection, self.statement, values)

    def _plan(self, connection: BaseDatabaseWrapper) -> None:
        now, planned = self._clock(), self._planned.get(connection.connection)
        if planned is not None and now - planned < PLAN_SECONDS:
            return
        with connection.cursor() as cursor:
            cursor.execute("discard plans" if planned is not None else f"prepare {self.name} as {self._numbered()}")
        self._planned[connection.connection] = now

    def _numbered(self) -> str:
        numbers = count(1)
        return re.sub("%s", lambda _: f"${next(numbers)}", self.statement)


def _keeps_statements(connection: BaseDatabaseWrapper) -> bool:
    # A mistake in a transaction would end it, also in one that only the project's AUTOCOMMIT leaves open. EXECUTE takes
    # no values from outside its text.
    return (
        connection.vendor == "postgresql"
        and not connection.settings_dict["OPTIONS"].get("server_side_binding")
        and connection.get_autocommit()
    )


def _rows(connection: BaseDatabaseWrapper, statement: str, values: Sequence[Any]) -> Rows:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found: Rows = cursor.fetchall()
    return found


def _state(error: DatabaseError) -> str | None:
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg 3, psycopg 2
