"""The few threads that may touch the database for streams: sessions, access, replay. Their number is the bound."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.db import InterfaceError, OperationalError, connections

from taskbell.store.connection import adopt

# Two cores read about 1,000 sessions a second; more threads only queue at the interpreter and at the database.
THREADS: Final = 4

T = TypeVar("T")


class Pool:
    """A fixed set of threads with kept connections of their own."""

    def __init__(self) -> None:
        self._generation = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="taskbell-pool", initializer=_adopt_all)
        self._local = threading.local()

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function(*args)` on one of the threads; once more on new connections if the database was away."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._call, function, *args)

    def renew(self) -> None:
        """Have every thread open its connections again before its next job."""
        self._generation += 1

    def close(self) -> None:
        """Let the threads end; jobs that wait are dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _call(self, function: Callable[..., T], *args: Any) -> T:
        if getattr(self._local, "generation", 0) != self._generation:
            self._local.generation = self._generation
            _close_all()
        try:
            return function(*args)
        except (OperationalError, InterfaceError):
            _close_all()
            return function(*args)


def _adopt_all() -> None:
    for alias in connections:
        adopt(alias)


def _close_all() -> None:
    for connection in connections.all(initialized_only=True):
        connection.close()
