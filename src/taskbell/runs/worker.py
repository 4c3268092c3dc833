"""What a worker's main process knows of the tasks that its children work on."""

import threading
import time
from dataclasses import dataclass
from typing import Any

from taskbell.runs.states import ENDINGS, Fact, Identity, Kind
from taskbell.runs.writer import writer


@dataclass(slots=True)
class Held:
    """A run as far as its worker's main process knows it."""

    identity: Identity
    attempt: int = 1
    execution: str = ""
    done: float | None = None
    total: float | None = None
    message: str | None = None


class Worker:
    """Runs received and not yet ended; may be used from the event loop and the receiving thread."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()

    def hold(self, identity: Identity, attempt: int) -> None:
        """Note a run that this worker received."""
        with self._lock:
            self._held[identity.task_id] = Held(identity, attempt)

    def take(self, fact: Fact) -> None:
        """Learn from a task's fact, and pass it on to the writer."""
        with self._lock:
            self._learn(fact)
        writer.put(fact)

    def identity_of(self, task_id: str) -> Identity | None:
        """Return the run of a task that this worker holds."""
        held = self._held.get(task_id)
        return held.identity if held is not None else None

    def end(self, task_id: str, kind: Kind, unless_held: Held | None = None, **values: Any) -> None:
        """Tell the ending that a task could not tell itself."""
        with self._lock:
            held = self._held.pop(task_id, unless_held)
        if held is None:
            return
        writer.put(
            Fact(
                identity=held.identity,
                kind=kind,
                at=time.time(),
                attempt=held.attempt,
                execution=held.execution,
                done=held.done,
                total=held.total,
                message=held.message,
                **values,
            )
        )

    def _learn(self, fact: Fact) -> None:
        if fact.kind in ENDINGS or fact.kind == "retrying":
            self._held.pop(fact.identity.task_id, None)
            return
        held = self._held.setdefault(fact.identity.task_id, Held(fact.identity, fact.attempt))
        held.attempt, held.execution = fact.attempt, fact.execution
        held.done, held.total, held.message = fact.done, fact.total, fact.message
