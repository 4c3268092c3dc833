"""Rings after commits, on one thread per process: a commit sets a flag and is done.

The thread is a daemon: the end of a process waits a moment for the last ring, and not for a server that hangs.
"""

import atexit
import os
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any, Final

from django.core.signals import setting_changed

from taskbell import conf
from taskbell.counts import count
from taskbell.faults import Fault
from taskbell.wakeups import Wakeup, configured, must_ring
from taskbell.wakeups.pauses import Breaker

# At most 20 rings a second: what is committed meanwhile is covered by the next, and one page view that publishes
# 100 times rings twice.
GAP: Final = 0.05
# Connections of processes that publish seldom are not kept. PostgreSQL gives the last session 5 s to leave before
# DROP DATABASE fails, so a test database can be dropped after a test that published.
IDLE: Final = 2.0
# A ring takes a few milliseconds with its connection; this is what a server that hangs may cost the end of a process.
LAST_RING: Final = 0.3


def ring_soon(alias: str) -> None:
    """Have the wakeup of a database alias rung in a moment; takes about a microsecond and never raises."""
    _bell.ring_soon(alias)


def forget() -> None:
    """Let the settings be read again, and drop connections."""
    _bell.renew()


class Bell:
    """One thread that rings for all commits of a process, started by the first."""

    def __init__(self) -> None:
        self._due: SimpleQueue[str | None] = SimpleQueue()
        self.renew_in_child()

    def renew(self) -> None:
        """Begin anew with another thread; the old one ends when it is done."""
        self._due.put(None)
        self.renew_in_child()

    def finish(self) -> None:
        """Let the last ring out, for at most LAST_RING; a command that publishes and ends would ring for nobody."""
        if self._thread is not None:
            self._due.put(None)
            self._thread.join(LAST_RING)

    def renew_in_child(self) -> None:
        """Begin anew after a fork, where threads are gone and locks may be held for ever.

        Connections of the parent are left to it: both libraries know whose they are.
        """
        # A SimpleQueue may be put to from anywhere, even from a signal handler in the midst of another put.
        self._due = SimpleQueue()
        self._waiting: set[str] = set()
        self._silent: dict[str, bool] = {}
        self._starting = Lock()
        self._thread: Thread | None = None
        self._fault = Fault()

    def ring_soon(self, alias: str) -> None:
        """Note that `alias` is to be rung."""
        if self._is_silent(alias):
            return
        if alias not in self._waiting:
            self._waiting.add(alias)
            self._due.put(alias)
        if self._thread is None:
            self._start()

    def _is_silent(self, alias: str) -> bool:
        known = self._silent.get(alias)
        if known is None:
            known = self._silent[alias] = not self._must_ring(alias)
        return known

    def _must_ring(self, alias: str) -> bool:
        try:
            return must_ring(alias)
        except Exception as error:  # noqa: BLE001  this is the end of somebody's commit, and the check says it better
            self._fault.tell("Taskbell cannot ring for the database %r: %s", alias, error)
            return False

    def _start(self) -> None:
        # Whoever comes second need not wait: the first one's thread serves both.
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = Thread(target=_serve, args=(self._due, self._waiting), name="taskbell-bell", daemon=True)
                thread.start()
                self._thread = thread
        except RuntimeError:
            # No threads left, or Python is on its way out. The next commit tries again.
            pass
        finally:
            self._starting.release()


class Ringer:
    """Rings for one alias and never raises; holds off while the server fails."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._wakeup: Wakeup | None = None
        self._breaker = Breaker()
        self._fault = Fault()

    def ring(self) -> None:
        """Ring, unless that would only fail again."""
        if self._breaker.is_open:
            return
        try:
            self._wakeup = self._wakeup or configured(self._alias)
            self._wakeup.ring()
        except Exception as error:  # noqa: BLE001  the thread serves all commits to come, whatever this one met
            if self._breaker.failed():
                self._fault.tell("Taskbell cannot ring, gateways look every POLL seconds instead: %s", error)
        else:
            count("rings_sent_total")
            self._breaker.succeeded()
            self._fault.over("Taskbell rings again")

    def rest(self) -> None:
        """Drop the connection."""
        if self._wakeup is not None:
            self._wakeup.close()


def _serve(due: "SimpleQueue[str | None]", waiting: set[str]) -> None:
    ringers: dict[str, Ringer] = {}
    while True:
        try:
            alias = due.get(timeout=IDLE)
        except Empty:
            _rest(ringers)
            alias = due.get()
        if alias is None:
            return _rest(ringers)
        # Before ringing: who commits from here on is due again.
        waiting.discard(alias)
        rung_at = monotonic()
        ringers.setdefault(alias, Ringer(alias)).ring()
        sleep(max(0.0, rung_at + GAP - monotonic()))


def _rest(ringers: dict[str, Ringer]) -> None:
    for ringer in ringers.values():
        ringer.rest()


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == conf.NAME:
        forget()


_bell = Bell()
os.register_at_fork(after_in_child=_bell.renew_in_child)
atexit.register(_bell.finish)
setting_changed.connect(_forget, dispatch_uid="taskbell.wakeups.bell")
