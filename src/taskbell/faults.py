"""Faults in the log: told at once, and while they last once a minute with how often they came meanwhile."""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Final

REMIND_AFTER: Final = 60.0

logger = logging.getLogger("taskbell")

Clock = Callable[[], float]


class Fault:
    """One fault. Log records carry `times`: how often it came since it was last told."""

    def __init__(self, level: int = logging.WARNING, clock: Clock = monotonic) -> None:
        self._level = level
        self._clock = clock
        self._silent_until = clock()
        self._untold = 0
        self._standing = False

    def tell(self, message: str, *values: object, traceback: bool = False) -> None:
        """Log it, unless that was done within the last minute; with the `traceback` of the exception at hand."""
        if self._clock() < self._silent_until:
            self._untold += 1
            return
        again = f" ({self._untold} times more since this was last told)" if self._untold else ""
        logger.log(
            self._level,
            message + again,
            *(_in_one_line(value) for value in values),
            exc_info=traceback,
            extra={"times": self._untold + 1},
        )
        self._silent_until = self._clock() + REMIND_AFTER
        self._untold, self._standing = 0, True

    def over(self, message: str, *values: object) -> None:
        """Say that the fault is over, if it was told."""
        if self._standing:
            logger.info(message, *values)
        self._standing = False


def error(message: str, *values: object, about: str = "") -> None:
    """Tell a fault of this process that is known by its message; `about` tells apart the few things it may concern."""
    _fault(message, about).tell(message, *values)


def exception(message: str, *values: object, about: str = "") -> None:
    """Tell it as `error` does, with the traceback of the exception at hand."""
    _fault(message, about).tell(message, *values, traceback=True)


def forget() -> None:
    """Begin anew: the next time, each fault is told at once."""
    _known.clear()


def plain(text: str) -> str:
    """Return a text from elsewhere as it may stand in a log: no line of its own, no colours, no overwriting."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _fault(message: str, about: str) -> Fault:
    return _known.setdefault((message, about), Fault(logging.ERROR))


def _in_one_line(value: object) -> object:
    return value if isinstance(value, int | float) else plain(str(value))


_known: dict[tuple[str, str], Fault] = {}
