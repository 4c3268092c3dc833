"""A reaper whose clocks a test sets, and whom it watches."""

import time
import uuid
from collections.abc import Callable
from typing import Any

from taskbell.models import Outbox, Worker
from taskbell.runs.reaper import STEP_SECONDS, Reaper
from taskbell.runs.states import Fact, Run
from taskbell.store.clock import PatientClock
from taskbell.testing import deliver
from tests.runs.telling import Life, told

ALIAS = "default"


def knows_nothing(run: Run) -> Fact | None:
    return None


class Watch:
    """A reaper and its clocks: `now` is the monotonic one, `set_by` is how far the wall clock was set."""

    def __init__(self, probe: Callable[[Run], Fact | None] = knows_nothing) -> None:
        self.now = 1_000.0
        self.set_by = 0.0
        self._began = time.time() - self.now
        self.reaper = Reaper(probe, clock=lambda: self.now, wall=PatientClock(self.wall, lambda: self.now))

    def wall(self, alias: str) -> float:
        return self._began + self.now + self.set_by

    def step(self) -> list[str]:
        """Look once, and return what was told."""
        self.reaper.step(ALIAS)
        told = list(Outbox.objects.order_by("id").values_list("type", flat=True))
        deliver()
        return told

    def watch(self, seconds: float, between: Callable[[], object] = lambda: None) -> list[str]:
        """Look every second, and return all that was told."""
        told = []
        for _ in range(int(seconds / STEP_SECONDS)):
            told += self.step()
            self.now += STEP_SECONDS
            between()
        return told

    def wait(self, seconds: float) -> list[str]:
        """Look now and after some time, and return what was told."""
        told = self.step()
        self.now += seconds
        return told + self.step()


def worker(**values: Any) -> Worker:
    return Worker.objects.create(**({"id": uuid.uuid4(), "name": "celery@here", "beat": 1} | values))


def running(ada: Any, by: Worker | None, **values: Any) -> Life:
    life = Life(ada)
    told(life("started", worker=str(by.id) if by else None, **values))
    return life
