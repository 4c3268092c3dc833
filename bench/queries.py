"""Counts a gateway's queries in a file that others may read meanwhile: those of the pool for streams, and the rest."""

import mmap
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.db.backends.signals import connection_created

POOL: Final = "taskbell-pool"
_COUNTS: Final = struct.Struct("=QQ")


def count_queries(file: Path) -> None:
    """Count in `file` every statement that this process executes from now on."""
    file.write_bytes(_COUNTS.pack(0, 0))
    with file.open("r+b") as opened:
        shared, lock = mmap.mmap(opened.fileno(), _COUNTS.size), threading.Lock()

    def count(execute: Callable[..., Any], *statement: Any) -> Any:
        with lock:
            pool, others = _COUNTS.unpack(shared[:])
            is_pools = threading.current_thread().name.startswith(POOL)
            shared[:] = _COUNTS.pack(pool + is_pools, others + (not is_pools))
        return execute(*statement)

    def count_on(connection: Any, **kwargs: Any) -> None:
        if count not in connection.execute_wrappers:  # it is the same after a reconnect
            connection.execute_wrappers.append(count)

    connection_created.connect(count_on, weak=False)


def queries_of_pool(file: Path) -> int:
    """Return how many statements the pool's threads have executed."""
    return int(_COUNTS.unpack(file.read_bytes())[0])
