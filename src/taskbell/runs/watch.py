"""Runs that left a living worker without a word: its main process tells what became of them.

A run has left when its queue has let go of it and no ending came. That is believed only after a whole lease in which
this process was awake: the task's last words may still be on their way, or the queue about to tell of its death.
"""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from taskbell import faults
from taskbell.conf import current
from taskbell.runs.probes import Probe, Probes
from taskbell.runs.worker import Held, Worker
from taskbell.runs.writer import writer

STEP_SECONDS: Final = 1.0
# A step that comes this late was frozen, and so was the thread that takes what children say.
STALL_SECONDS: Final = 5.0


class Watch:
    """Looks at what a worker holds, about once a second on a thread of its own: no queue's timer runs in every pool."""

    def __init__(self, worker: Worker, probe: Probe, clock: Callable[[], float] = time.monotonic) -> None:
        self._worker = worker
        self._probes = Probes(probe)
        self._clock = clock
        self._missed: dict[Held, float] = {}
        self._stepped_at = float("-inf")
        self._closing = threading.Event()

    def start(self) -> None:
        """Look from now on, until `close`."""
        threading.Thread(target=self._run, name="taskbell-watch", daemon=True).start()

    def close(self) -> None:
        """Tell at once of what has left, because nobody will look again."""
        self._closing.set()
        self._tell(self._worker.departed())

    def step(self) -> None:
        """Look once, and tell of what left a whole lease ago."""
        now = self._clock()
        if now - self._stepped_at > STALL_SECONDS:
            self._missed.clear()
        self._stepped_at = now
        self._missed = {held: self._missed.get(held, now) for held in self._worker.departed()}
        self._tell(held for held, since in self._missed.items() if now - since >= _patience(held))

    def _run(self) -> None:
        while not self._closing.wait(STEP_SECONDS):
            try:
                self.step()
            except Exception:
                faults.exception("Tasks that left without a word could not be told.")

    def _tell(self, departed: Iterable[Held]) -> None:
        departed = list(departed)
        for held in departed:
            if held.fate != "lost" and self._worker.drop(held):
                _tell_fate(held)
        # The queue is asked first, because an ending may have been stored and only its telling died.
        lost = [held for held in departed if held.fate == "lost"]
        for held, (_, found) in zip(lost, self._probes.ask([held.as_run() for held in lost]), strict=False):
            if self._worker.drop(held):
                writer.put(found or held.fact("lost"))


def _patience(held: Held) -> float:
    """Return how many seconds a run must be gone to be told; the last words of a process are soon heard."""
    return STEP_SECONDS / 2 if held.fate == "cancelled" else current().LEASE


def _tell_fate(held: Held) -> None:
    if held.fate in {"succeeded", "cancelled"}:
        writer.put(held.fact(held.fate))
    elif held.execution:  # one that never started still waits, and nothing has changed
        writer.put(held.interruption())
