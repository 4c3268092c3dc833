"""The registry of background loops; every gateway starts what is registered here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A step that a gateway repeats in a thread: `step(alias)` every `seconds`, never two at once in a process.

    With several gateways every one runs it, so a step takes a lock of its own or is harmless to double.
    """

    name: str
    seconds: float
    step: Callable[[str], object]


_loops: Final[dict[str, Loop]] = {}


def register(loop: Loop) -> None:
    """Have every gateway run `loop`; a second of the same name replaces the first."""
    _loops[loop.name] = loop


def registered() -> list[Loop]:
    """Return the loops in the order of their registration."""
    return list(_loops.values())
