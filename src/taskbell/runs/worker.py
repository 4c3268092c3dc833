"""What a worker's main process knows of the tasks that it received, and what it tells for those that cannot."""

import os
import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from taskbell.runs.reaper import INTERRUPTED
from taskbell.runs.states import ENDINGS, Fact, Identity, Kind, Run
from taskbell.runs.writer import writer

# What becomes of a task that its queue has let go of: it succeeded, was cancelled, is handed out again, or is lost.
Fate = Literal["succeeded", "cancelled", "returns", "lost"]


class Receipt(Protocol):
    """What a queue says of one message that this worker received."""

    def is_here(self) -> bool:
        """Tell whether the task waits or runs here; may be wrong for moments."""

    def fate(self) -> Fate:
        """Return what becomes of it when it is here no more."""


@dataclass(slots=True, eq=False)
class Held:
    """A run as far as its worker's main process knows it."""

    identity: Identity
    attempt: int = 1
    receipt: Receipt | None = None
    execution: str = ""
    done: float | None = None
    total: float | None = None
    message: str | None = None
    # The process in which it runs, None before.
    pid: int | None = None
    # It ran inside this process and is over, which its queue may not notice.
    broken: bool = False

    @property
    def is_inside(self) -> bool:
        """Whether this very process works on it, be it that its queue has given it up: threads cannot be stopped."""
        return self.pid == os.getpid() and not self.broken

    @property
    def has_left(self) -> bool:
        """Whether nothing works on it here any more."""
        return self.broken or not (self.is_inside or self.receipt is None or self.receipt.is_here())

    @property
    def fate(self) -> Fate:
        """What becomes of a run that has left."""
        return self.receipt.fate() if self.receipt is not None else "lost"

    def as_run(self) -> Run:
        """Return it as a run under way."""
        return Run(
            identity=self.identity,
            state="running",
            attempt=self.attempt,
            execution=self.execution,
            done=self.done,
            total=self.total,
            message=self.message,
        )

    def fact(self, kind: Kind, **values: Any) -> Fact:
        """Return a fact of the execution at hand, at this moment."""
        return self.as_run().fact(kind, time.time(), **values)

    def interruption(self) -> Fact:
        """Return what is told of an execution that was cut off, while the broker hands the task out again."""
        return self.fact("retrying", error_message=INTERRUPTED)


class Worker:
    """Runs received and not yet ended; may be used from the event loop and from other threads."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()

    def after_fork_in_child(self) -> None:
        """Begin anew: what is held, and perhaps the lock, are the main process's."""
        self._begin()

    def hold(self, identity: Identity, attempt: int, receipt: Receipt) -> None:
        """Note a run that this worker received; if it comes back from an execution that was cut off, tell that."""
        with self._lock:
            old = self._held.get(identity.run)
            self._held[identity.run] = Held(identity, attempt, receipt)
        # A retry comes with a higher attempt, and the attempt before tells of it itself.
        if old is not None and old.execution and old.attempt == attempt and old.has_left and old.fate == "returns":
            writer.put(old.interruption())

    def take(self, fact: Fact, pid: int) -> None:
        """Learn from a fact of a task that runs in process `pid`, and pass it on to the writer."""
        with self._lock:
            held = self._held.get(fact.identity.run)
            if fact.kind == "failed" and held is not None and held.fate == "cancelled":
                fact = replace(fact, kind="cancelled", error_message=None, error_reference=None)
            self._learn(fact, held, pid)
        writer.put(fact)

    def find(self, task_id: str) -> Held | None:
        """Return the newest run of a task that this worker holds; callers may use an id again."""
        with self._lock:
            everything = list(self._held.values())
        return next((held for held in reversed(everything) if held.identity.task_id == task_id), None)

    def end(self, held: Held, kind: Kind, **values: Any) -> None:
        """Tell what a task could not tell itself; of a run that is not held, `held` is all that is known."""
        with self._lock:
            held = self._held.pop(held.identity.run, held)
        writer.put(held.fact(kind, **values))

    def stop(self, held: Held, pid: int) -> None:
        """Note that a run is cancelled, and process `pid` was told to leave it.

        What the task tells of its ending until then is still true; if it tells nothing, it is cancelled when the
        process is gone.
        """
        with self._lock:
            held = self._held.setdefault(held.identity.run, held)
            held.receipt = _InProcess(pid, "cancelled")

    @property
    def works_inside(self) -> bool:
        """Whether this very process works on anything."""
        with self._lock:
            return any(held.is_inside for held in self._held.values())

    def departed(self) -> list[Held]:
        """Return the runs on which nothing works here any more, though nobody told their ending."""
        with self._lock:
            everything = list(self._held.values())
        return [held for held in everything if held.has_left]

    def drop(self, held: Held) -> bool:
        """Hold a run no more; return False if that has happened already."""
        with self._lock:
            if self._held.get(held.identity.run) is not held:
                return False
            del self._held[held.identity.run]
            return True

    def _learn(self, fact: Fact, held: Held | None, pid: int) -> None:
        if held is None and fact.kind == "started":
            # Never received: it runs within another one, eagerly.
            held = self._held[fact.identity.run] = Held(fact.identity, fact.attempt, _InProcess(pid, "lost"))
        # What an earlier execution says at last is not true of this one.
        if held is None or (fact.attempt, fact.execution) < (held.attempt, held.execution):
            return
        if fact.kind == "queued" and fact.execution != (held.execution or None):
            return
        # What is queued by an execution was replaced by it, and goes on in another message.
        if fact.kind in ENDINGS or fact.kind in {"retrying", "queued"}:
            del self._held[fact.identity.run]
            return
        held.attempt, held.execution, held.pid = fact.attempt, fact.execution, pid
        held.done, held.total, held.message = fact.done, fact.total, fact.message


@dataclass(frozen=True, slots=True)
class _InProcess:
    """The receipt of a run that is there as long as a process: it came by no message, or is to be stopped."""

    pid: int
    then: Fate

    def is_here(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def fate(self) -> Fate:
        return self.then
