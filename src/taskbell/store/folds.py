"""The registry of folds: what the tick does with rows that are not plain events.

A fold turns the facts of one batch into log entries and may keep tables of its own. The tick calls it under
the head's lock, in one transaction with the log, so what it writes and what browsers see cannot differ.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from taskbell.models import Outbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event that a fold wants in the log, at the place of the outbox row `at`.

    Exactly one of `channel` and `user_key` is set; `payload` is one line of ASCII JSON.
    `subject` is the fold's own, and comes back with the number.
    """

    at: int
    type: str
    payload: str
    channel: str | None = None
    user_key: str | None = None
    latest_key: str | None = None
    subject: object = None


@dataclass(frozen=True, slots=True)
class Numbered:
    """An entry with the number and the channel that it was given."""

    seq: int
    channel: str
    entry: Entry


class Fold(ABC):
    """What facts of one kind become, or of several that are told apart by `kind` and must keep their order.

    Must be harmless to repeat: a row whose fold raises is tried again alone.
    """

    @abstractmethod
    def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
        """Return the entries that these rows (in outbox order) cause; none for a fact that changes nothing."""

    def asked_at(self, row: Outbox) -> datetime | None:
        """Return when its person asked for what a row tells of, None where that was when it was written.

        Only asked of people whose key another account had before. Raises ValueError, TypeError or KeyError on a row
        that cannot be read.
        """
        return None

    def numbered(self, entries: Sequence[Numbered], using: str) -> None:
        """Learn the log numbers that the entries were given, in the same transaction; not called without any."""


_folds: Final[dict[str, Fold]] = {}


def register(kind: str, fold: Fold) -> None:
    """Let `fold` handle the outbox rows of `kind`; the last registration counts. One fold may handle several kinds."""
    _folds[kind] = fold


def unregister(kind: str) -> None:
    """Take back `register`."""
    _folds.pop(kind, None)


def fold_for(kind: str) -> Fold | None:
    """Return the fold of `kind`, if there is one."""
    return _folds.get(kind)
