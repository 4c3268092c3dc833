"""Of several gateways one ticks while events come, so that nobody waits for a turn. The pump, step by step."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from taskbell.gateway.pump import OTHERS_WAIT, Pump
from taskbell.store.connection import SameFile
from taskbell.store.head import create_head
from taskbell.store.tick import Answer, Ticker
from taskbell.wakeups import Listener
from tests.gateway.real import Make, say

ALIAS = "default"
POLL = 1.0
pytestmark = pytest.mark.proof


class Rung(Listener):
    """It rings all the time."""

    def wait(self, timeout: float) -> bool:
        return True


class Counted(Ticker):
    calls = 0

    def tick(self) -> Answer:
        self.calls += 1
        return super().tick()


class AtOnce:
    """An event loop of which nobody has to be asked twice."""

    def call_soon_threadsafe(self, function: Callable[..., None], *args: Any) -> None:
        function(*args)


class Scene:
    """A pump whose steps the test takes, and the ticker of another gateway."""

    def __init__(self) -> None:
        create_head(ALIAS)
        self.fed: list[str] = []
        resting = threading.Event()
        resting.set()
        nothing: Callable[..., None] = lambda *args: None  # noqa: E731
        hub: Any = SimpleNamespace(start_at=nothing, look=nothing, feed=self._feed, resting=resting)
        self.rest = resting
        control: Any = SimpleNamespace(begin=nothing, take=nothing, forget=nothing)
        self.pump = Pump(hub, control, ALIAS, AtOnce(), nothing)  # type: ignore[arg-type]
        self.ticker = self.pump.ticker = Counted(ALIAS)
        self.pump._file = SameFile(ALIAS)
        self.other = Ticker(ALIAS)
        for _ in range(2):  # it finds its place, and looks for the first time, which is a poll
            self.step()
        self.ticker.calls = 0

    def _feed(self, frames: Any) -> None:
        self.fed += [frame.data.decode().partition("data: ")[2].strip() for frame in frames]
        self.rest.set()

    def step(self) -> None:
        self.pump._step(Rung())


@pytest.fixture(params=["sqlite", "postgres"])
def scene(project: Make, request: pytest.FixtureRequest) -> Scene:
    project(request.param).configure(POLL=int(POLL))
    return Scene()


def test_who_reads_does_not_try_as_long_as_the_log_grows(scene: Scene) -> None:
    number, end = 0, time.monotonic() + 2 * POLL
    while time.monotonic() < end:
        number += 1
        say(number)
        scene.other.tick()
        scene.step()
    assert scene.fed == [str(one) for one in range(1, number + 1)]
    assert scene.ticker.calls == 0


def test_who_reads_takes_over_when_it_grows_no_more(scene: Scene) -> None:
    say("a")
    scene.other.tick()
    scene.step()
    say("b")
    scene.step()
    assert scene.ticker.calls == 0
    time.sleep(OTHERS_WAIT)
    scene.step()
    assert scene.fed == ['"a"', '"b"']


def test_who_finds_that_another_moved_more_goes_back_to_reading(scene: Scene) -> None:
    say("a")
    scene.step()
    time.sleep(OTHERS_WAIT)
    scene.step()
    assert scene.fed == ['"a"']
    say("b")
    scene.other.tick()
    say("c")
    scene.step()
    calls = scene.ticker.calls
    say("d")
    scene.other.tick()
    scene.step()
    assert (scene.fed, scene.ticker.calls) == (['"a"', '"b"', '"c"', '"d"'], calls)
