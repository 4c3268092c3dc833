"""Connections of our own threads: kept open, tuned for short steps, never the project's."""

import os
import time
from collections import deque
from pathlib import Path
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# How often a SQLite file is compared with the one that was opened: a copy put in its place is another history.
LOOK_SECONDS: Final = 1.0

# libpq waits for hours on a peer that vanished, and nobody would be told anything meanwhile. The project's own
# options come first.
NOTICE_A_DEAD_PEER: Final = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
}


def adopt(alias: str) -> BaseDatabaseWrapper:
    """Give the calling thread a connection of its own under `alias` and return it.

    READ COMMITTED on PostgreSQL, whatever the project uses, because a tick must see what was committed while it
    waited; IMMEDIATE on SQLite, because a read that turns into a write fails there at once.
    """
    connection = connections.create_connection(alias)
    connection.settings_dict = {**connection.settings_dict, **_tuned(connection)}
    # Under DEBUG Django keeps the last 9,000 statements; nobody would ever empty that here.
    connection.queries_log = deque(maxlen=0)
    connections[alias] = connection
    return connection


def adopt_all() -> None:
    """Give the calling thread connections of its own under every alias: users may live in another database."""
    for alias in connections:
        adopt(alias)


def release_all() -> None:
    """Close the calling thread's connections; the next use opens them again."""
    for connection in connections.all(initialized_only=True):
        connection.close()


class SameFile:
    """Notices that a SQLite database was replaced on disk; always true elsewhere."""

    def __init__(self, alias: str) -> None:
        self._path = _sqlite_path(alias)
        self._known = self._identity()
        self._look_at = 0.0

    def still(self) -> bool:
        """Return False once when the file is another one than before; looks at most once a second."""
        if self._path is None or time.monotonic() < self._look_at:
            return True
        self._look_at = time.monotonic() + LOOK_SECONDS
        before, self._known = self._known, self._identity()
        return before == self._known

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path) if self._path else None
        except FileNotFoundError:
            return None
        return (found.st_dev, found.st_ino) if found else None


def _tuned(connection: BaseDatabaseWrapper) -> dict[str, Any]:
    options = {**connection.settings_dict["OPTIONS"]}
    if connection.vendor == "postgresql":
        from psycopg import IsolationLevel

        options["isolation_level"] = IsolationLevel.READ_COMMITTED
        options.pop("pool", None)
        options = {**NOTICE_A_DEAD_PEER, **options}
    elif connection.vendor == "sqlite":
        options["transaction_mode"] = "IMMEDIATE"
    return {"OPTIONS": options, "AUTOCOMMIT": True, "ATOMIC_REQUESTS": False, "CONN_MAX_AGE": None}


def _sqlite_path(alias: str) -> Path | None:
    connection = connections[alias]
    if connection.vendor != "sqlite" or connection.is_in_memory_db():  # type: ignore[attr-defined]
        return None
    return Path(connection.settings_dict["NAME"])
