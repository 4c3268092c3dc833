"""The run that this code works for: `progress`, `track` and `publish_result` find it by themselves."""

import json
import math
import secrets
import time
from collections.abc import Iterable, Iterator, Sized
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from taskbell import faults
from taskbell.conf import current as settings
from taskbell.exceptions import PayloadTooLarge, TaskbellError
from taskbell.ground.events import encode_payload
from taskbell.models import MESSAGE_LENGTH
from taskbell.runs.enqueue import send_with_transaction
from taskbell.runs.send import send
from taskbell.runs.states import ENDINGS, Fact, Identity, Kind
from taskbell.runs.writer import writer

T = TypeVar("T")

# An event is 64 KiB at most, and label, name and message want their part of it.
RESULT_BYTES: Final = 48 * 1024
_LAST_WORDS: Final = ENDINGS | {"retrying"}


@dataclass(slots=True)
class Here:
    """One execution of one run, in the process that works on it."""

    identity: Identity
    attempt: int
    execution: str
    worker: str | None = None
    # An eager task runs in its caller's transaction, and so is told in it.
    eager: bool = False
    done: float | None = None
    total: float | None = None
    message: str | None = None
    result: Any = None
    republished: bool = False
    # By others, after which it is published again.
    replaced: bool = False
    # An ending or the next attempt was told: this execution has nothing more to say.
    concluded: bool = False
    due_at: float = 0.0

    def fact(self, kind: Kind, **values: Any) -> Fact:
        """Return a fact of this execution, at this moment."""
        return Fact(
            identity=self.identity, kind=kind, at=time.time(), attempt=self.attempt, execution=self.execution, **values
        )

    def ending(self, kind: Kind, **values: Any) -> Fact:
        """Return an ending, which carries the last progress."""
        return self.fact(kind, done=self.done, total=self.total, message=self.message, **values)

    def tell(self, fact: Fact) -> None:
        """Send a fact of this execution, or of what it publishes."""
        self.concluded |= fact.identity.run == self.identity.run and fact.kind in _LAST_WORDS
        if fact.identity.is_told:
            (send_with_transaction if self.eager else send)(fact)

    def report(self) -> None:
        """Send the progress, unless the last one is too fresh; then the next or the ending brings it."""
        now = time.monotonic()
        if now >= self.due_at:
            rate = settings().PROGRESS_RATE
            self.due_at = now + 1 / rate if rate > 0 else math.inf
            self.tell(self.fact("progress", done=self.done, total=self.total, message=self.message))


# The innermost last: an eager task runs inside another one. None is a task that nobody is shown.
_here: Final[ContextVar[tuple[Here | None, ...]]] = ContextVar("taskbell_here", default=(None,))


def new_execution() -> str:
    """Return the mark of an execution that begins now: later ones compare greater."""
    return f"{time.time_ns() // 1000:017d}-{secrets.token_hex(4)}"


def enter(here: Here | None, *, nested: bool = False) -> None:
    """Begin to work for a run; what was not left before (its worker was told to die) is forgotten unless `nested`."""
    _here.set((*(_here.get() if nested else (None,)), here))


def leave() -> None:
    """Stop working for the innermost run."""
    _here.set(_here.get()[:-1] or (None,))


def current_run() -> Here | None:
    """Return the execution that this code belongs to, be it a carrier's; None outside a task that is somebody's."""
    return _here.get()[-1]


def _shown_run() -> Here | None:
    here = current_run()
    return here if here is not None and not here.identity.is_quiet else None


def tell_queued(fact: Fact) -> None:
    """Tell that something was enqueued: in the transaction that enqueues it, but never in a worker's."""
    here = current_run()
    if here is not None:
        here.tell(fact)
    else:
        (send_with_transaction if writer.worker is None else send)(fact)


def progress(done: float, total: float | None = None, message: str | None = None) -> None:
    """Tell how far this task is: `done` of `total`, both in any unit. Does nothing outside a run, and never raises."""
    here = _shown_run()
    if here is None:
        return
    here.done, here.total = _number(done), _number(total)
    if message is not None:
        here.message = _text(message)
    here.report()


def track(iterable: Iterable[T], message: str | None = None, total: float | None = None) -> Iterable[T]:
    """Yield from `iterable` and move the bar of this task; `total` is its length where it has one."""
    here = _shown_run()
    if here is None:
        return iterable
    if total is None:
        total = len(iterable) if isinstance(iterable, Sized) else None
    return _track(iterable, here, message, total)


def publish_result(result: Any) -> None:
    """Let the owner's browser see `result` when this task succeeds; its return value is never shown.

    `result` is anything Django's JSON encoder writes, 48 KiB at most; something else is logged and left out, because
    the task itself did nothing wrong that should end it.
    """
    here = _shown_run()
    if here is None:
        return
    try:
        text = encode_payload(result)
        if len(text) > RESULT_BYTES:
            raise PayloadTooLarge(f"The result is {len(text):,} bytes as JSON, the limit is {RESULT_BYTES:,}.")
    except TaskbellError:
        faults.exception("publish_result() of task %s was ignored.", here.identity.name)
        return
    # As it is now: the task may go on to change the object.
    here.result = json.loads(text)


def _track(iterable: Iterable[T], here: Here, message: str | None, total: float | None) -> Iterator[T]:
    progress(0, total, message)
    clock, due_at, done = time.monotonic, here.due_at, 0
    for done, item in enumerate(iterable, 1):
        yield item
        if clock() >= due_at:
            progress(done, total)
            due_at = here.due_at
    here.done, here.total = done, total if total is not None else done


def _text(value: Any) -> str | None:
    try:
        return str(value)[:MESSAGE_LENGTH]
    except Exception:  # noqa: BLE001  a translation that fails is no reason for the task to fail
        return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
