"""The few threads that may touch the database for streams: sessions, access, replay. Their number is the bound."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from django.db import InterfaceError, OperationalError

from taskbell.store.connection import adopt_all, release_all

# Two cores read about 1,000 sessions a second; more threads only queue at the interpreter and at the database.
THREADS: Final = 4

T = TypeVar("T")
Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class Pool:
    """A fixed set of threads with kept connections of their own.

    Daemons, unlike those of `concurrent.futures`: a database that froze must not keep a process that was told to end.
    """

    def __init__(self) -> None:
        self._generation = 0
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = False

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call `function(*args)` on one of the threads; once more on new connections if the database was away."""
        self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, function, args))
        return await future

    def renew(self) -> None:
        """Have every thread open its connections again before its next job."""
        self._generation += 1

    def close(self) -> None:
        """Let the threads end after the jobs that wait."""
        for _ in range(THREADS):
            self._jobs.put(None)

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for number in range(THREADS):
                threading.Thread(target=self._work, name=f"taskbell-pool-{number}", daemon=True).start()

    def _work(self) -> None:
        adopt_all()
        generation = self._generation
        while (job := self._jobs.get()) is not None:
            if generation != self._generation:
                generation = self._generation
                release_all()
            _do(*job)
        release_all()


def _do(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Any]", function: Callable[..., Any], args: tuple[Any, ...]
) -> None:
    if future.cancelled():
        return
    tell: Callable[[asyncio.Future[Any], Any], None]
    try:
        tell, answer = _set_result, _twice(function, args)
    except BaseException as error:  # noqa: BLE001  it is the caller's, on the other thread
        tell, answer = _set_exception, error
    try:
        loop.call_soon_threadsafe(tell, future, answer)
    except RuntimeError:
        pass  # the loop is closed: the process ends


def _twice(function: Callable[..., T], args: tuple[Any, ...]) -> T:
    try:
        return function(*args)
    except (OperationalError, InterfaceError):
        release_all()
        return function(*args)


def _set_result(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _set_exception(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
