"""The writer: facts leave the task's path at once and reach the outbox on a thread and a connection of their own.

A worker's main process also drains what its children send (runs/children.py), and shows that it lives by its beat.
Nothing here waits for the database on behalf of a task, and nothing raises.
"""

import atexit
import logging
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final

from django.db import connections, router, transaction
from django.db.models import F

from taskbell.conf import current
from taskbell.models import Outbox, Worker
from taskbell.runs.facts import to_row
from taskbell.runs.states import Fact
from taskbell.store.connection import adopt
from taskbell.wakeups.bell import ring_soon

# A database that is away for minutes loses nothing but progress: a fact is about 1 KB.
MOST_FACTS: Final = 100_000
# Progress is dropped first, while there is still room for endings.
MOST_WITH_PROGRESS: Final = 90_000
BATCH_FACTS: Final = 200
# Facts of one moment share a transaction; on SQLite every commit takes the one write lock.
GATHER_SECONDS: Final = 0.01
BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
# A fork waits this long for the connection to be closed cleanly.
FORK_WAIT: Final = 1.0
# Endings that a process puts in its last moment are still written.
LAST_SECONDS: Final = 3.0
# Beats within a lease: one or two may be lost without a false alarm.
BEATS_A_LEASE: Final = 6
COMPLAIN_SECONDS: Final = 60.0

logger = logging.getLogger("taskbell")


class Writer:
    """The one writer of a process."""

    def __init__(self) -> None:
        self.dropped = 0
        # The id of the worker that this process is, or is a child of.
        self.worker: str | None = None
        self._worker_name = ""
        self._beats = False
        self._begin()

    def _begin(self) -> None:
        self._facts: deque[Fact] = deque()
        self._news = threading.Event()
        self._written = threading.Event()
        self._connection_free = threading.Lock()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._beat_at = 0.0
        self._registered = False
        self._failures = 0
        self._complained_at = float("-inf")

    def put(self, fact: Fact) -> None:
        """Take a fact; when too many wait, progress is dropped first and everything dropped is counted."""
        waiting = len(self._facts)
        if waiting >= (MOST_WITH_PROGRESS if fact.kind == "progress" else MOST_FACTS):
            self.dropped += 1
            return
        self._facts.append(fact)
        self._written.clear()
        self._news.set()
        self._ensure_thread()

    def beat_as(self, name: str) -> None:
        """Be a worker's main process: mint its id and show from now on that it lives."""
        self.worker, self._worker_name = str(uuid.uuid4()), name
        self._registered, self._beats = False, True
        self._news.set()
        self._ensure_thread()

    def finish(self, seconds: float = LAST_SECONDS) -> bool:
        """Write what waits, for at most `seconds`; return whether nothing is left."""
        if self._thread is not None and self._thread.is_alive():
            self._ending = True
            self._news.set()
            self._thread.join(seconds)
            self._ending = False
        return not self._facts

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="taskbell-writer", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the interpreter is going
                self._thread = None

    def _run(self) -> None:
        self._alias = router.db_for_write(Outbox)
        adopt(self._alias)
        while True:
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  tasks go on, whatever the database says
                self._complain(error)
                if self._ending:
                    break
            if self._ending and not self._facts:
                break
        connections[self._alias].close()

    def _step(self) -> None:
        self._news.wait(self._until_beat() if not self._facts else 0)
        self._news.clear()
        if self._facts and not self._ending:
            time.sleep(GATHER_SECONDS)
        with self._connection_free:
            self._write()
            self._beat()
        self._failures = 0

    def _write(self) -> None:
        while self._facts:
            batch = [self._facts.popleft() for _ in range(min(BATCH_FACTS, len(self._facts)))]
            try:
                rows = [to_row(fact) for fact in _without_old_progress(batch)]
                with transaction.atomic(using=self._alias):
                    Outbox.objects.using(self._alias).bulk_create(rows)
            except BaseException:
                self._facts.extendleft(reversed(batch))
                raise
            ring_soon(self._alias)

    def _beat(self) -> None:
        if self.worker is None or not self._beats or time.monotonic() < self._beat_at:
            return
        workers = Worker.objects.using(self._alias)
        if not self._registered:
            workers.bulk_create([Worker(id=self.worker, name=self._worker_name[:255])], ignore_conflicts=True)
            self._registered = True
        workers.filter(id=self.worker).update(beat=F("beat") + 1)
        self._beat_at = time.monotonic() + current().LEASE / BEATS_A_LEASE

    def _until_beat(self) -> float | None:
        return max(0.0, self._beat_at - time.monotonic()) if self._beats else None

    def _complain(self, error: Exception) -> None:
        self._failures += 1
        self._registered = False
        connections[self._alias].close()
        if time.monotonic() - self._complained_at >= COMPLAIN_SECONDS:
            self._complained_at = time.monotonic()
            logger.error("Facts of tasks wait for the database (%d of them, try %d): %s",
                         len(self._facts), self._failures, error)  # fmt: skip
        if not self._ending:
            time.sleep(BACK_OFF[min(self._failures, len(BACK_OFF)) - 1])

    # A child must not inherit an open connection: SQLite's locks and a PostgreSQL socket belong to one process.

    def before_fork(self) -> None:
        """Close the connection, waiting a little for a write to end."""
        self._held = self._connection_free.acquire(timeout=FORK_WAIT)

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._held:
            self._connection_free.release()

    def after_fork_in_child(self) -> None:
        """Begin anew: the thread stayed behind; what waited, and the beat, are the parent's."""
        self._begin()
        self._beats = False


def _without_old_progress(facts: Sequence[Fact]) -> list[Fact]:
    """Leave out progress that the same batch replaces."""
    last = {(fact.identity.run, fact.execution): index for index, fact in enumerate(facts) if fact.kind == "progress"}
    return [
        fact
        for index, fact in enumerate(facts)
        if fact.kind != "progress" or last[fact.identity.run, fact.execution] == index
    ]


writer: Final = Writer()
os.register_at_fork(
    before=writer.before_fork,
    after_in_parent=writer.after_fork_in_parent,
    after_in_child=writer.after_fork_in_child,
)
atexit.register(writer.finish)
