"""The writer: facts leave the task's path at once and reach the outbox on a thread and a connection of their own.

A worker's main process also drains what its children send (runs/children.py), and shows that it lives by its beat.
Nothing here waits for the database on behalf of a task, and nothing raises.
"""

import atexit
import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Final

from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.models import F

from taskbell import faults
from taskbell.conf import current
from taskbell.models import Outbox, Worker
from taskbell.runs.facts import to_row
from taskbell.runs.own_connection import OwnConnection
from taskbell.runs.states import Fact
from taskbell.wakeups.bell import ring_soon

# A database that is away for minutes loses nothing but progress: a fact is about 1 KB.
MOST_FACTS: Final = 100_000
# Progress stops earlier, so that endings find room without having to push it out one by one.
MOST_WITH_PROGRESS: Final = 90_000
BATCH_FACTS: Final = 200
# Facts of one moment share a transaction; on SQLite every commit takes the one write lock.
GATHER_SECONDS: Final = 0.01
BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
# Endings that a process puts in its last moment are still written.
LAST_SECONDS: Final = 3.0
# Beats within a lease: one or two may be lost without a false alarm.
BEATS_A_LEASE: Final = 6
# A database that is busy for a moment is no news.
COMPLAIN_AFTER: Final = 3.0
# The database refuses the row, not the connection: trying again would stop everything behind it.
REFUSED: Final = (DataError, IntegrityError, ValueError, TypeError)


class Writer:
    """The one writer of a process."""

    def __init__(self) -> None:
        self.dropped = 0
        # The id of the worker that this process is, or is a child of.
        self.worker: str | None = None
        self._worker_name = ""
        self._beats = False
        self._connection = OwnConnection()
        self._begin()

    def _begin(self) -> None:
        self._facts: deque[Fact] = deque()
        # The newest progress of each execution is all that anyone wants to know.
        self._progress: dict[tuple[str, str], Fact] = {}
        self._news = threading.Event()
        self._starting = threading.Lock()
        self._ending = False
        self._writing = False
        self._thread: threading.Thread | None = None
        self._beat_at = 0.0
        self._registered = False
        self._failures = 0
        self._failing_since = 0.0

    def put(self, fact: Fact) -> None:
        """Take a fact; when too many wait, progress is dropped first and everything dropped is counted."""
        if fact.kind == "progress":
            key = (fact.identity.run, fact.execution)
            if self.waiting >= MOST_WITH_PROGRESS and key not in self._progress:
                self.dropped += 1
                return
            self._progress[key] = fact
        elif self.waiting < MOST_FACTS or self._make_room():
            self._facts.append(fact)
        else:
            self.dropped += 1
            return
        self._news.set()
        self._ensure_thread()

    @property
    def waiting(self) -> int:
        """How many facts are not written yet, but for those being written now."""
        return len(self._facts) + len(self._progress)

    @property
    def idle(self) -> bool:
        """Whether everything put so far is written."""
        return not self.waiting and not self._writing

    def beat_as(self, name: str) -> None:
        """Be a worker's main process: mint its id and show from now on that it lives."""
        self.worker, self._worker_name = str(uuid.uuid4()), name
        self._registered, self._beats = False, True
        self._news.set()
        self._ensure_thread()

    def finish(self, seconds: float = LAST_SECONDS) -> bool:
        """Write what waits, for at most `seconds`, and end the thread; return whether nothing is left."""
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._ending = True
            self._news.set()
            thread.join(seconds)
            self._ending = False
        return not self.waiting and not (thread is not None and thread.is_alive())

    def _make_room(self) -> bool:
        try:
            self._progress.popitem()
        except KeyError:
            return False
        self.dropped += 1
        return True

    def _ensure_thread(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run, name="taskbell-writer", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is going
                return
            self._thread = thread

    def _run(self) -> None:
        self._connection.open()
        while not (self._ending and not self.waiting):
            try:
                self._step()
            except Exception as error:  # noqa: BLE001  tasks go on, whatever the database says
                if self._ending:
                    break
                self._hold_off(error)
        self._connection.close()

    def _step(self) -> None:
        if not self.waiting:
            self._news.wait(self._until_beat())
        self._news.clear()
        if self.waiting and not self._ending:
            time.sleep(GATHER_SECONDS)
        self._writing = True
        try:
            while batch := self._take():
                self._write(batch)
        finally:
            self._writing = False
        self._beat()
        self._failures = 0

    def _take(self) -> list[Fact]:
        batch = [self._facts.popleft() for _ in range(min(BATCH_FACTS, len(self._facts)))]
        while self._progress and len(batch) < BATCH_FACTS:
            batch.append(self._progress.popitem()[1])
        return batch

    def _give_back(self, batch: Sequence[Fact]) -> None:
        self._facts.extendleft(fact for fact in reversed(batch) if fact.kind != "progress")
        for fact in batch:
            if fact.kind == "progress":
                self._progress.setdefault((fact.identity.run, fact.execution), fact)

    def _write(self, batch: list[Fact]) -> None:
        """Write the facts in one transaction; one that is refused is left out and the others are written."""
        try:
            self._insert(batch)
        except REFUSED as error:
            if len(batch) > 1:
                return self._write_singly(batch)
            self.dropped += 1
            faults.error("A fact (%s) of task %s is refused and dropped: %s",
                        batch[0].kind, batch[0].identity.task_id, error)  # fmt: skip
        except BaseException:
            self._give_back(batch)
            raise

    def _write_singly(self, batch: Sequence[Fact]) -> None:
        for at, fact in enumerate(batch):
            try:
                self._write([fact])
            except BaseException:
                self._give_back(batch[at + 1 :])
                raise

    def _insert(self, batch: Sequence[Fact]) -> None:
        rows = [to_row(fact) for fact in batch]
        alias = self._connection.alias
        with self._connection.use(), transaction.atomic(using=alias):
            Outbox.objects.using(alias).bulk_create(rows)
        ring_soon(alias)

    def _beat(self) -> None:
        if self.worker is None or not self._beats or time.monotonic() < self._beat_at:
            return
        workers = Worker.objects.using(self._connection.alias)
        with self._connection.use():
            if not self._registered:
                workers.bulk_create([Worker(id=self.worker, name=self._worker_name[:255])], ignore_conflicts=True)
            # False when somebody deleted the row: then the next beat makes it anew.
            self._registered = bool(workers.filter(id=self.worker).update(beat=F("beat") + 1))
        self._beat_at = time.monotonic() + current().LEASE / BEATS_A_LEASE if self._registered else 0.0

    def _until_beat(self) -> float | None:
        return max(0.0, self._beat_at - time.monotonic()) if self._beats else None

    def _hold_off(self, error: Exception) -> None:
        now = time.monotonic()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        self._complain(error, now)
        if isinstance(error, OperationalError) and "locked" in str(error):
            return  # SQLite was busy, and we have waited already
        self._registered = False
        self._connection.close()
        time.sleep(BACK_OFF[min(self._failures, len(BACK_OFF)) - 1])

    def _complain(self, error: Exception, now: float) -> None:
        if now - self._failing_since >= COMPLAIN_AFTER:
            faults.error("Facts of tasks wait for the database (%d of them, for %.0f s): %s",
                        self.waiting, now - self._failing_since, error)  # fmt: skip

    def before_fork(self) -> None:
        """Close the connection, waiting a little for a write to end."""
        self._connection.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._connection.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Begin anew: the thread stayed behind; what waited, and the beat, are the parent's."""
        self._connection.after_fork_in_child()
        self._begin()
        self._beats = False


writer: Final = Writer()
os.register_at_fork(
    before=writer.before_fork,
    after_in_parent=writer.after_fork_in_parent,
    after_in_child=writer.after_fork_in_child,
)
atexit.register(writer.finish)
