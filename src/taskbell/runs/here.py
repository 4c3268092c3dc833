"""The run that this code works for: `progress`, `track` and `publish_result` find it by themselves."""

import logging
import math
import secrets
import time
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from taskbell.conf import current as settings
from taskbell.exceptions import TaskbellError
from taskbell.ground.events import encode_payload
from taskbell.models import MESSAGE_LENGTH
from taskbell.runs.send import send
from taskbell.runs.states import Fact, Identity, Kind

T = TypeVar("T")

logger = logging.getLogger("taskbell")


@dataclass(slots=True)
class Here:
    """One execution of one run, in the process that works on it."""

    identity: Identity
    attempt: int
    execution: str
    worker: str | None = None
    done: float | None = None
    total: float | None = None
    message: str | None = None
    result: Any = None
    republished: bool = False
    due_at: float = 0.0

    def fact(self, kind: Kind, **values: Any) -> Fact:
        """Return a fact of this execution, at this moment."""
        return Fact(
            identity=self.identity, kind=kind, at=time.time(), attempt=self.attempt, execution=self.execution, **values
        )

    def ending(self, kind: Kind, **values: Any) -> Fact:
        """Return an ending, which carries the last progress."""
        return self.fact(kind, done=self.done, total=self.total, message=self.message, **values)

    def report(self) -> None:
        """Send the progress, unless the last one is too fresh; then the next or the ending brings it."""
        now = time.monotonic()
        if now >= self.due_at:
            self.due_at = now + 1 / settings().PROGRESS_RATE
            send(self.fact("progress", done=self.done, total=self.total, message=self.message))


_here: Final[ContextVar[Here | None]] = ContextVar("taskbell_here", default=None)


def new_execution() -> str:
    """Return the mark of an execution that begins now: later ones compare greater."""
    return f"{time.time_ns() // 1000:017d}-{secrets.token_hex(4)}"


def enter(here: Here) -> "Token[Here | None]":
    """Begin to work for a run."""
    return _here.set(here)


def leave() -> None:
    """Stop working for a run."""
    _here.set(None)


def current_run() -> Here | None:
    """Return the execution that this code belongs to, None outside a task that people see."""
    return _here.get()


def progress(done: float, total: float | None = None, message: str | None = None) -> None:
    """Tell how far this task is: `done` of `total`, both in any unit. Does nothing outside a run, and never raises."""
    here = _here.get()
    if here is None:
        return
    here.done, here.total = _number(done), _number(total)
    if message is not None:
        here.message = str(message)[:MESSAGE_LENGTH]
    here.report()


def track(iterable: Iterable[T], message: str | None = None, total: float | None = None) -> Iterable[T]:
    """Yield from `iterable` and move the bar of this task; `total` is its length where it has one."""
    here = _here.get()
    if here is None:
        return iterable
    if total is None:
        total = len(iterable) if isinstance(iterable, Sized) else None
    return _track(iterable, here, message, total)


def publish_result(result: Any) -> None:
    """Let the owner's browser see `result` (JSON) when this task succeeds; its return value is never shown."""
    here = _here.get()
    if here is None:
        return
    try:
        encode_payload(result)
    except TaskbellError:
        # The task itself did nothing wrong that should end it.
        logger.exception("publish_result() of task %s was ignored.", here.identity.name)
        return
    here.result = result


def _track(iterable: Iterable[T], here: Here, message: str | None, total: float | None) -> Iterator[T]:
    progress(0, total, message)
    clock, done = time.monotonic, 0
    for done, item in enumerate(iterable, 1):
        yield item
        if clock() >= here.due_at:
            progress(done, total)
    here.done, here.total = done, total if total is not None else done


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
