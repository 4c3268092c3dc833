"""Asking queues how runs ended, without ever waiting for one that does not answer."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from django.db import connections

from taskbell import faults
from taskbell.runs.states import Fact, Run

# A result backend that does not answer in this time knows nothing.
PROBE_SECONDS: Final = 2.0

Probe = Callable[[Run], Fact | None]
Answer = tuple[Run, Fact | None]


class Probes:
    """Asks on a daemon thread, which may hang: then nobody is asked until it comes back."""

    def __init__(self, probe: Probe, seconds: float = PROBE_SECONDS) -> None:
        self._probe = probe
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    def ask(self, runs: Sequence[Run]) -> list[Answer]:
        """Return the runs with their endings, None where the queue knows none.

        A slow queue answers for the first runs only, the others are for the next time; from one that hangs, every
        answer is None.
        """
        if self._thread is not None and self._thread.is_alive():
            return [(run, None) for run in runs]
        answers: list[Answer] = []
        stop_at = time.monotonic() + self._seconds
        self._thread = threading.Thread(
            target=self._ask_all, args=(runs, answers, stop_at), name="taskbell-probe", daemon=True
        )
        self._thread.start()
        self._thread.join(self._seconds)
        found = answers.copy()
        if not self._thread.is_alive() or found:
            return found
        faults.error("The results of tasks cannot be asked for: no answer within %g s", self._seconds)
        return [(run, None) for run in runs]

    def _ask_all(self, runs: Sequence[Run], answers: list[Answer], stop_at: float) -> None:
        try:
            for run in runs:
                answers.append((run, self._ask(run)))
                if time.monotonic() >= stop_at:
                    return
        finally:
            connections.close_all()

    def _ask(self, run: Run) -> Fact | None:
        try:
            return self._probe(run)
        except Exception as error:  # noqa: BLE001  a backend that is away knows nothing
            faults.error("The result of task %s cannot be asked for: %s", run.identity.task_id, repr(error))
            return None
