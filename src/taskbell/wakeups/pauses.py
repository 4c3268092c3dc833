"""When to try again, and when to say so again."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

logger = logging.getLogger("taskbell")

Clock = Callable[[], float]

LONGEST_PAUSE: Final = 30.0
# One lost answer is chance, three in a row are a fault.
PATIENCE: Final = 3
OPEN_FIRST: Final = 1.0
REMIND_AFTER: Final = 60.0


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


class Fault:
    """A fault told in the log at once, and while it lasts once a minute with how often it came meanwhile."""

    def __init__(self, clock: Clock = monotonic) -> None:
        self._clock = clock
        self._silent_until = clock()
        self._untold = 0
        self._standing = False

    def tell(self, message: str, *values: Any) -> None:
        """Warn, unless that was done within the last minute."""
        if self._clock() < self._silent_until:
            self._untold += 1
            return
        again = f" ({self._untold} times more since this was last told)" if self._untold else ""
        logger.warning(message + again, *values)
        self._silent_until = self._clock() + REMIND_AFTER
        self._untold, self._standing = 0, True

    def over(self, message: str, *values: Any) -> None:
        """Say that the fault is over, if it was told."""
        if self._standing:
            logger.info(message, *values)
        self._standing = False
