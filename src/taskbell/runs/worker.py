"""What a worker's main process knows of the tasks that it received, and what it tells for those that cannot."""

import os
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from taskbell.runs.reaper import INTERRUPTED
from taskbell.runs.states import ENDINGS, Fact, Identity, Kind
from taskbell.runs.writer import writer

# What becomes of a task that its queue has let go of: it succeeded, it will be handed out again, or nothing ever.
Fate = Literal["succeeded", "returns", "lost"]


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
    # Broken off inside this process, which its queue does not notice.
    broken: bool = False

    @property
    def has_left(self) -> bool:
        """Whether nothing works on it here any more."""
        return self.broken or (self.receipt is not None and not self.receipt.is_here())

    @property
    def fate(self) -> Fate:
        """What becomes of a run that has left."""
        return self.receipt.fate() if self.receipt is not None else "lost"

    def fact(self, kind: Kind, **values: Any) -> Fact:
        """Return a fact of the execution at hand, at this moment."""
        return Fact(
            identity=self.identity,
            kind=kind,
            at=time.time(),
            attempt=self.attempt,
            execution=self.execution,
            done=self.done,
            total=self.total,
            message=self.message,
            **values,
        )

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
            old = self._held.get(identity.task_id)
            self._held[identity.task_id] = Held(identity, attempt, receipt)
        # A retry comes with a higher attempt, and the attempt before tells of it itself.
        if old is not None and old.execution and old.attempt == attempt and old.has_left and old.fate == "returns":
            writer.put(old.interruption())

    def take(self, fact: Fact, pid: int) -> None:
        """Learn from a fact of a task that runs in process `pid`, and pass it on to the writer."""
        with self._lock:
            self._learn(fact, pid)
        writer.put(fact)

    def identity_of(self, task_id: str) -> Identity | None:
        """Return the run of a task that this worker holds."""
        held = self._held.get(task_id)
        return held.identity if held is not None else None

    def end(self, task_id: str, kind: Kind, unless_held: Held | None = None, **values: Any) -> None:
        """Tell what a task could not tell itself."""
        with self._lock:
            held = self._held.pop(task_id, unless_held)
        if held is not None:
            writer.put(held.fact(kind, **values))

    def break_off(self, task_id: str) -> None:
        """Note that nothing works on a task any more."""
        held = self._held.get(task_id)
        if held is not None:
            held.broken = True

    def departed(self) -> list[Held]:
        """Return the runs on which nothing works here any more, though nobody told their ending."""
        with self._lock:
            everything = list(self._held.values())
        return [held for held in everything if held.has_left]

    def drop(self, held: Held) -> bool:
        """Hold a run no more; return False if that has happened already."""
        with self._lock:
            if self._held.get(held.identity.task_id) is not held:
                return False
            del self._held[held.identity.task_id]
            return True

    def _learn(self, fact: Fact, pid: int) -> None:
        held = self._held.get(fact.identity.task_id)
        if held is None and fact.kind == "started":
            # Never received: it runs within another one, eagerly.
            held = self._held[fact.identity.task_id] = Held(fact.identity, fact.attempt, _InProcess(pid))
        # What an earlier execution says at last is not true of this one.
        if held is None or (fact.attempt, fact.execution) < (held.attempt, held.execution):
            return
        if fact.kind in ENDINGS or fact.kind == "retrying":
            del self._held[fact.identity.task_id]
            return
        held.attempt, held.execution = fact.attempt, fact.execution
        held.done, held.total, held.message = fact.done, fact.total, fact.message


@dataclass(frozen=True, slots=True)
class _InProcess:
    """The receipt of a run that came by no message: it is there as long as its process."""

    pid: int

    def is_here(self) -> bool:
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def fate(self) -> Fate:
        return "lost"
