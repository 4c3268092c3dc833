"""What a task queue must offer to be listened to."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import groupby
from typing import ClassVar, Final

from taskbell.runs.states import Fact, Run


class Engine(ABC):
    """A task queue. `install` connects to its hooks; facts then flow through `runs.send`."""

    name: ClassVar[str]

    @abstractmethod
    def install(self) -> None:
        """Connect to the queue's hooks; harmless to repeat."""

    @abstractmethod
    def cancel(self, runs: Sequence[Run], workers: Sequence[str]) -> None:
        """Tell the workers of these names to stop these runs, or not to start them; may raise and may take long."""

    @abstractmethod
    def reach(self) -> None:
        """Connect to the queue once, or raise; takes seconds at most."""

    @abstractmethod
    def probe(self, run: Run) -> Fact | None:
        """Ask the queue how a run ended, None if it does not know; may raise and may take long."""


_engines: Final[dict[str, Engine]] = {}


def register(engine: Engine) -> None:
    """Listen to `engine`."""
    _engines[engine.name] = engine
    engine.install()


def probe(run: Run) -> Fact | None:
    """Ask the engine of a run how it ended; None if it does not know, or this process does not listen to it."""
    engine = _engines.get(run.identity.engine)
    return engine.probe(run) if engine is not None else None


def unreachable() -> dict[str, Exception]:
    """Try every queue, and return by its name why it cannot be reached; may take seconds."""
    found: dict[str, Exception] = {}
    for name, engine in _engines.items():
        try:
            engine.reach()
        except Exception as error:  # noqa: BLE001  each library has errors of its own
            found[name] = error
    return found


def cancel(runs: Sequence[Run], workers: Sequence[str]) -> None:
    """Have each engine stop its runs; as `Engine.cancel`. Runs of an engine that is not listened to go on."""
    for name, of_engine in groupby(sorted(runs, key=_engine_of), _engine_of):
        engine = _engines.get(name)
        if engine is not None:
            engine.cancel(list(of_engine), workers)


def _engine_of(run: Run) -> str:
    return run.identity.engine
