"""When to try again."""

from collections.abc import Callable
from time import monotonic
from typing import Final

Clock = Callable[[], float]

LONGEST_PAUSE: Final = 30.0
# One lost answer is chance, three in a row are a fault.
PATIENCE: Final = 3
OPEN_FIRST: Final = 1.0


class Backoff:
    """Pauses that double from `first` seconds to LONGEST_PAUSE."""

    def __init__(self, first: float) -> None:
        self._first = self._next = first

    def pause(self) -> float:
        """Return the pause before the next try, in seconds."""
        pause, self._next = self._next, min(self._next * 2, LONGEST_PAUSE)
        return pause

    def reset(self) -> None:
        """Start over: the last try went well."""
        self._next = self._first


class Breaker:
    """Holds tries back after PATIENCE failures in a row: 1, 2, 4 … 30 seconds, then lets one through."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._backoff = Backoff(OPEN_FIRST)
        self._failures = 0
        self._open_until = clock()

    @property
    def is_open(self) -> bool:
        """Whether a try would be wasted now."""
        return self._clock() < self._open_until

    def failed(self) -> bool:
        """Count a failure; return whether the breaker opened by it."""
        self._failures += 1
        if self._failures < PATIENCE:
            return False
        self._open_until = self._clock() + self._backoff.pause()
        return True

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0
        self._backoff.reset()
