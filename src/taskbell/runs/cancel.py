"""Cancelling: a person's wish becomes a fact, and a loop of the gateway tells workers until the run has ended.

Again and again, because workers keep in memory what they are not to run: one that started since, or was cut off from
the broker, has not heard it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from taskbell import faults
from taskbell.models import Run as RunRow
from taskbell.models import Worker
from taskbell.runs.facts import to_row
from taskbell.runs.rows import to_run
from taskbell.runs.states import Fact, Run, apply
from taskbell.store.outbox import insert

STEP_SECONDS: Final = 1.0
# Until a run is told again. Growing, because whoever did not end it at the first times will hardly do at the next.
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
# After a broker that was away.
PAUSE_AFTER_ERROR: Final = 2.0
MOST_RUNS: Final = 500
OPEN: Final = ("queued", "running", "retrying")

# Tells workers, by their names, that these runs are to stop; may raise and may take long.
Cancel = Callable[[Sequence[Run], Sequence[str]], None]


def ask_to_cancel(run: Run, user_key: str) -> Run:
    """Note in the open transaction that the owner wants no more of this run; return the run as it is then.

    Of a run that has ended, or was asked for before, nothing changes.
    """
    identity = replace(run.identity, user_key=user_key)
    fact = Fact(identity=identity, kind="cancelling", at=time.time())
    asked = apply(run, fact)
    if asked is not run:
        insert([to_row(fact)])
    return asked


@dataclass(slots=True)
class _Telling:
    times: int = 0
    due_at: float = float("-inf")


class Cancels:
    """Tells workers what is to be cancelled; `step` is called about once a second and never waits for the broker."""

    def __init__(self, cancel: Cancel, clock: Callable[[], float] = time.monotonic) -> None:
        self._messenger = Messenger(cancel, clock)
        self._clock = clock
        self._tellings: dict[str, _Telling] = {}
        self._workers: set[UUID] = set()

    def step(self, alias: str) -> int:
        """Tell what is due; return how many runs that are."""
        asked = RunRow.objects.using(alias).filter(state__in=OPEN, cancel_requested_at__isnull=False)
        runs = [to_run(row) for row in asked.order_by("cancel_requested_at")[:MOST_RUNS]]
        self._tellings = {run.identity.run: self._tellings.get(run.identity.run, _Telling()) for run in runs}
        if not runs or not self._messenger.is_free:
            return 0
        workers = dict(Worker.objects.using(alias).values_list("id", "name"))
        self._begin_anew_if_there_are_others(set(workers))
        due = [run for run in runs if self._tellings[run.identity.run].due_at <= self._clock()]
        if due and workers:
            self._messenger.send(due, sorted(set(workers.values())))
            self._plan_next(due)
        return len(due)

    def _begin_anew_if_there_are_others(self, workers: set[UUID]) -> None:
        """A worker that has just started knows nothing; so does every one if the last message was not sent."""
        if workers - self._workers or self._messenger.has_failed:
            self._tellings = {id: _Telling() for id in self._tellings}
        self._workers = workers

    def _plan_next(self, told: Sequence[Run]) -> None:
        for run in told:
            telling = self._tellings[run.identity.run]
            telling.due_at = self._clock() + PAUSES[min(telling.times, len(PAUSES) - 1)]
            telling.times += 1


class Messenger:
    """Sends on a daemon thread, which may hang as long as the broker does: then nothing is sent meanwhile."""

    def __init__(self, cancel: Cancel, clock: Callable[[], float] = time.monotonic) -> None:
        self._cancel = cancel
        self._clock = clock
        self._thread: threading.Thread | None = None
        self._free_at = float("-inf")
        # Whether the last message was not sent.
        self.has_failed = False

    @property
    def is_free(self) -> bool:
        """Whether something can be sent now."""
        return not (self._thread and self._thread.is_alive()) and self._clock() >= self._free_at

    def send(self, runs: Sequence[Run], workers: Sequence[str]) -> None:
        """Send, and return at once."""
        self._thread = threading.Thread(
            target=self._send, args=(runs, workers), name="taskbell-cancel", daemon=True
        )  # fmt: skip
        self._thread.start()

    def _send(self, runs: Sequence[Run], workers: Sequence[str]) -> None:
        try:
            self._cancel(runs, workers)
            self.has_failed = False
        except Exception as error:  # noqa: BLE001  a broker that is away; the runs are told again
            self.has_failed = True
            self._free_at = self._clock() + PAUSE_AFTER_ERROR
            faults.error("Workers cannot be told what to cancel: %s. It is tried again.", repr(error))
