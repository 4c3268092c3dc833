"""Judges a run by what its writers and readers wrote down. Pure: no database, no clock."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["lost", "doubled", "order", "gap", "undone", "stranger", "channel", "untold", "error", "stuck"]


class Row(NamedTuple):
    """A numbered event, in the log or as a reader was given it."""

    seq: int
    nonce: str
    channel: str
    key: str


@dataclass(frozen=True)
class Tried:
    """An event that a writer began to publish."""

    key: str
    channel: str
    began: int


@dataclass(frozen=True)
class Violation:
    kind: Kind
    text: str


@dataclass
class Writers:
    """What the writers know. An event that is neither acknowledged nor undone may be there or not."""

    tried: dict[str, Tried] = field(default_factory=dict)
    acked: dict[str, int] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)

    def hear(self, lines: Iterable[str]) -> None:
        """Take in the sheet of one writer."""
        unsettled: list[str] = []
        for line in lines:
            match line.split():
                case ["tried", key, channel, began]:
                    self.tried[key] = Tried(key, channel, int(began))
                    unsettled.append(key)
                case ["undone", number]:
                    self.undone.update(key for key in unsettled if _transaction(key) == number)
                case ["acked", number, at, *undone]:
                    self.undone.update(undone)
                    whole = [key for key in unsettled if _transaction(key) == number and key not in undone]
                    self.acked |= dict.fromkeys(whole, int(at))


def _transaction(key: str) -> str:
    return key.split(".")[1]


@dataclass
class Reading:
    """What one reader was given since it was last told to start anew; `since` is the number it started after."""

    name: str
    since: int = 0
    resets: int = 0
    rows: list[Row] = field(default_factory=list)

    def hear(self, lines: Iterable[str]) -> "Reading":
        """Take in the sheet of this reader."""
        for line in lines:
            match line.split():
                case ["reset", seq, _]:
                    self.since, self.rows, self.resets = int(seq), [], self.resets + 1
                case ["read", seq, nonce, channel, key]:
                    self.rows.append(Row(int(seq), nonce, channel, key))
        return self


def judge(
    writers: Writers,
    readings: Sequence[Reading],
    history: Sequence[Row],
    *,
    addresses: Mapping[str, str],
    restored_at: int = 0,
) -> list[Violation]:
    """Return everything that is wrong.

    `addresses` gives the channel of each `person:<pk>`; what was tried before `restored_at` may be gone with the
    history that was replaced.
    """
    return [
        *_numbers(history),
        *_presence(writers, history, restored_at),
        *_channels(writers, history, addresses),
        *_order_of_one_writer(history),
        *_order_across_writers(writers, history),
        *(violation for reading in readings for violation in _reading(reading, history)),
    ]


def _numbers(history: Sequence[Row]) -> Iterator[Violation]:
    for expected, row in enumerate(history, start=1):
        if row.seq != expected:
            yield Violation("gap", f"number {expected} is missing, {row.seq} follows")
            return


def _presence(writers: Writers, history: Sequence[Row], restored_at: int) -> Iterator[Violation]:
    times = Counter(row.key for row in history)
    for key, count in times.items():
        if count > 1:
            yield Violation("doubled", f"{key} has {count} numbers")
        if key in writers.undone:
            yield Violation("undone", f"{key} was rolled back and is in the log")
        if key not in writers.tried:
            yield Violation("stranger", f"{key} was published by nobody")
    for key in writers.acked.keys() - times.keys():
        if writers.tried[key].began >= restored_at:
            yield Violation("lost", f"{key} was committed and is not in the log")


def _channels(writers: Writers, history: Sequence[Row], addresses: Mapping[str, str]) -> Iterator[Violation]:
    for row in history:
        tried = writers.tried.get(row.key)
        if tried and row.channel != addresses.get(tried.channel, tried.channel):
            yield Violation("channel", f"{row.key} went to {row.channel} instead of {tried.channel}")


def _order_of_one_writer(history: Sequence[Row]) -> Iterator[Violation]:
    last: dict[str, tuple[int, int]] = {}
    for row in history:
        writer, *place = row.key.split(".")
        number, n = map(int, place)
        if (number, n) < last.get(writer, (0, -1)):
            yield Violation("order", f"{row.key} comes after {last[writer]} of the same writer")
        last[writer] = (number, n)


def _order_across_writers(writers: Writers, history: Sequence[Row]) -> Iterator[Violation]:
    """Committed before published comes first: nothing may stand above what was committed before it was begun."""
    earliest, whose = None, ""
    for row in reversed(history):
        tried = writers.tried.get(row.key)
        if tried and earliest is not None and earliest < tried.began:
            late = (tried.began - earliest) / 1e6
            yield Violation("order", f"{whose} was committed {late:.3f} ms before {row.key} began, and comes after it")
        acked = writers.acked.get(row.key)
        if acked is not None and (earliest is None or acked < earliest):
            earliest, whose = acked, row.key


def _reading(reading: Reading, history: Sequence[Row]) -> Iterator[Violation]:
    expected = [row for row in history if row.seq > reading.since]
    if reading.rows == expected:
        return
    numbers = [row.seq for row in reading.rows]
    if numbers != sorted(set(numbers)):
        yield Violation("order", f"{reading.name} was given numbers that do not ascend")
    keys, wanted = {row.key for row in reading.rows}, {row.key for row in expected}
    if missing := wanted - keys:
        yield Violation("lost", f"{reading.name} was never given {len(missing)} of {len(wanted)}: {_some(missing)}")
    if untold := keys - wanted:
        yield Violation("untold", f"{reading.name} holds {len(untold)} that are not in the log: {_some(untold)}")
    if keys == wanted:
        yield Violation("order", f"{reading.name} was given other numbers than the log has")


def _some(keys: set[str]) -> str:
    return ", ".join(sorted(keys)[:5])
