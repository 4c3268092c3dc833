"""SQLite's one write lock, taken eagerly: a ticker between steady writers must not starve.

SQLite's busy handler sleeps 1 to 100 ms between its tries, so among writers that come every millisecond it hardly
ever finds the lock free (at 1,000 a second the ticker waited 57 ms in the middle and 5.3 s at worst). Asking again
every tenth of a millisecond finds it between two of them; the lock is then held for less than a millisecond. (Asking
every half millisecond takes twice as long at that rate, and saves a tenth of a core.)
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

AGAIN_SECONDS: Final = 0.0001
# sqlite3's own default for `timeout`, in seconds.
PATIENCE: Final = 5.0


@contextmanager
def write_transaction(alias: str) -> Iterator[None]:
    """Open a transaction; on SQLite by asking for the write lock often instead of seldom."""
    atomic = transaction.atomic(using=alias)
    connection = connections[alias]
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        _enter_eagerly(atomic, connection)
    else:
        atomic.__enter__()
    try:
        yield
    except BaseException as error:
        atomic.__exit__(type(error), error, error.__traceback__)
        raise
    else:
        atomic.__exit__(None, None, None)


def _enter_eagerly(atomic: transaction.Atomic, connection: BaseDatabaseWrapper) -> None:
    patience = float(connection.settings_dict["OPTIONS"].get("timeout", PATIENCE))
    deadline = time.monotonic() + patience
    connection.ensure_connection()
    connection.connection.execute("PRAGMA busy_timeout = 0")
    try:
        while not _entered(atomic, last_try=time.monotonic() >= deadline):
            time.sleep(AGAIN_SECONDS)
    finally:
        connection.connection.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")


def _entered(atomic: transaction.Atomic, *, last_try: bool) -> bool:
    try:
        atomic.__enter__()
    except OperationalError as error:
        if last_try or "locked" not in str(error):
            raise
        return False
    return True
