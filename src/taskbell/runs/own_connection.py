"""The writer's connection, which a fork takes away first: SQLite's locks and a PostgreSQL socket belong to one process.

A child forked while its parent held SQLite's write lock believes for ever that the lock is taken.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper

from taskbell.models import Outbox
from taskbell.store.connection import adopt

# A fork waits this long for a write to end; what is cut then is written again.
FORK_WAIT: Final = 1.0
# On SQLite a write waits for its turn in short pieces, so that a fork seldom finds one that waits.
SQLITE_PATIENCE: Final = 0.5


class OwnConnection:
    """One connection for one thread; any thread may fork."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._free = threading.Lock()
        self._forking = threading.local()
        self._connection: BaseDatabaseWrapper | None = None

    @property
    def alias(self) -> str:
        """The database that the project's router gives for the outbox."""
        return router.db_for_write(Outbox)

    def open(self) -> None:
        """Give the calling thread its connection; it connects at the first use."""
        self._connection = adopt(self.alias)
        self._connection.inc_thread_sharing()  # whoever forks closes it
        if self._connection.vendor == "sqlite":
            self._connection.settings_dict["OPTIONS"]["timeout"] = SQLITE_PATIENCE

    @contextmanager
    def use(self) -> Iterator[None]:
        """Keep forks waiting; for one transaction at a time."""
        with self._free:
            yield

    def close(self) -> None:
        """Close; the next use connects again. Never raises."""
        try:
            if self._connection is not None:
                self._connection.close()
        except Exception:  # noqa: BLE001  it was broken, which is why it is closed
            self._connection.connection = None  # type: ignore[union-attr]

    def before_fork(self) -> None:
        """Close between two writes; a write that takes too long is cut off from its server."""
        self._forking.held = self._free.acquire(timeout=FORK_WAIT)
        if self._forking.held:
            self.close()
        elif self._connection is not None:
            _shut(self._connection.connection)

    def after_fork_in_parent(self) -> None:
        """Let writing go on."""
        if self._forking.held:
            self._free.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: thread and connection stayed behind."""
        self._begin()


def _shut(connection: Any) -> None:
    """Shut the socket under a client library that waits on it; SQLite has none."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
    except Exception:  # noqa: BLE001  no socket, or closed meanwhile: a fork goes on in any case
        return
