"""Reading what streams missed: many readers, one ascending scan of the log.

First their cursors are checked and what they missed is counted; then a round serves as many of them as its page holds,
each with at most `chunk` bytes. Either costs the same few statements for one reader as for thousands, so a storm of
returning browsers is bounded by pages of the log and not by streams.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from django.db import connections

from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log
from taskbell.store.head import Head, read_head
from taskbell.store.log import LogRow

# Marks (numbers and sizes without payloads) looked at in one round.
PAGE_MARKS: Final = 5_000
# Progress replaced by newer progress is not replayed; so many times REPLAY_LIMIT raw rows are looked at to tell.
RAW_PER_EVENT: Final = 4
# The payloads of one round, in memory twice: as rows and as frames.
ROUND_BYTES: Final = 12 * 1024 * 1024

Reason = Literal["expired", "rewritten", "too_much"]
Superseded = Callable[[str | None, str | None, int], bool]


@dataclass(frozen=True, slots=True)
class Reader:
    """One stream's question: its channels, where it stands, and its cursor while that is unchecked."""

    channels: tuple[str, ...]
    place: int
    unchecked: Cursor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round for many readers whose cursors were checked, up to the number of `upto`.

    `chunk` bounds the payload bytes of one answer; `superseded(channel, latest_key, seq)` tells of newer progress that
    comes later anyway.
    """

    readers: Sequence[Reader]
    upto: Cursor
    chunk: int
    superseded: Superseded


@dataclass(frozen=True, slots=True)
class Missed:
    """The rows for one reader, complete up to `place`."""

    rows: Sequence[LogRow]
    place: int


@dataclass(frozen=True, slots=True)
class _Mark:
    seq: int
    channel: str
    latest_key: str | None
    size: int


def check(readers: Sequence[Reader], upto: Cursor, limit: int, alias: str) -> list[int | Reason]:
    """Return how many rows each unchecked reader missed, or why it cannot be continued: over `limit` events.

    Progress counts once a key. How many it is exactly matters to nobody over RAW_PER_EVENT times the limit.
    """
    refused = _refused(readers, alias)
    counted = [index for index in range(len(readers)) if index not in refused]
    rows = _count(_ROWS, [readers[index] for index in counted], upto.seq, limit, alias)
    answers: list[int | Reason] = [refused.get(index, 0) for index in range(len(readers))]
    for index, count in zip(counted, rows, strict=True):
        answers[index] = count
    doubtful = [index for index, answer in enumerate(answers) if isinstance(answer, int) and answer > limit]
    events = _count(_EVENTS, [readers[index] for index in doubtful], upto.seq, limit, alias)
    for index, count in zip(doubtful, events, strict=True):
        if count > limit or answers[index] == _raw(limit):
            answers[index] = "too_much"
    return answers


def read_missed(round: Round, alias: str) -> list[Missed | Reason]:
    """Return for each reader of the round its next rows, or why it cannot be continued."""
    answers = _serve(round.readers, round, alias)
    # Rows may have been pruned while they were read: only a floor still below the place proves that none was.
    head = read_head(alias)
    return [
        _still_whole(answer, reader, head, round.upto) for answer, reader in zip(answers, round.readers, strict=True)
    ]


def _still_whole(answer: Missed, reader: Reader, head: Head | None, upto: Cursor) -> Missed | Reason:
    if head is None or head.log_id != upto.log_id:
        return "rewritten"
    return answer if head.floor <= reader.place + 1 else "expired"


def _refused(readers: Sequence[Reader], alias: str) -> dict[int, Reason]:
    cursors = {index: reader.unchecked for index, reader in enumerate(readers) if reader.unchecked is not None}
    if not cursors:
        return {}
    head = read_head(alias)
    nonces = dict(
        Log.objects.using(alias).filter(seq__in={c.seq for c in cursors.values()}).values_list("seq", "nonce")
    )
    nonces[0] = NONCE_AT_ZERO
    refused: dict[int, Reason] = {}
    for index, cursor in cursors.items():
        if head is None or cursor.log_id != head.log_id or cursor.seq > head.seq:
            refused[index] = "rewritten"
        elif cursor.seq < head.floor and not cursor.seq == 0 < head.floor <= 1:
            refused[index] = "expired"
        elif nonces.get(cursor.seq) != cursor.nonce:
            refused[index] = "rewritten"
    return refused


def _count(what: str, readers: Sequence[Reader], upto: int, limit: int, alias: str) -> list[int]:
    """Return the counts of all readers by one statement, over all of the channels of each."""
    if not readers:
        return []
    channels = [(number, channel, reader.place) for number, reader in enumerate(readers) for channel in reader.channels]
    # Numbers are ours and stand in the text; only names are parameters.
    values = ", ".join(f"({number}, %s, {place})" for number, _, place in channels)
    sql = _COUNT.format(values=values, what=what, upto=upto, raw=_raw(limit))
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [channel for _, channel, _ in channels])
        return [min(int(count), _raw(limit)) for _, count in cursor.fetchall()]


def _raw(limit: int) -> int:
    return limit * RAW_PER_EVENT + 1


def _serve(readers: Sequence[Reader], round: Round, alias: str) -> list[Missed]:
    if not readers:
        return []
    channels = {channel for reader in readers for channel in reader.channels}
    marks, end = _marks(channels, min(reader.place for reader in readers), round.upto.seq, alias)
    marks, end = _bounded(marks, end)
    wanted = _newest_only(marks, round.superseded)
    by_channel: dict[str, list[_Mark]] = {}
    for mark in wanted:
        by_channel.setdefault(mark.channel, []).append(mark)
    chosen = [_choose(reader, by_channel, end, round.chunk) for reader in readers]
    rows = _rows({mark.seq for marks, _ in chosen for mark in marks}, alias)
    return [Missed([rows[mark.seq] for mark in marks if mark.seq in rows], place) for marks, place in chosen]


def _marks(channels: set[str], after: int, upto: int, alias: str) -> tuple[list[_Mark], int]:
    """Return the marks of these channels and the number up to which they are complete."""
    length = "octet_length" if connections[alias].vendor == "postgresql" else "length"
    sql = _MARKS.format(length=length, channels=", ".join(["%s"] * len(channels)))
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, [after, upto, *channels, PAGE_MARKS + 1])
        marks = [_Mark(*row) for row in cursor.fetchall()]
    # One more than a page holds, so that a full page is known to be the last one.
    return (marks[:-1], marks[-2].seq) if len(marks) > PAGE_MARKS else (marks, upto)


def _bounded(marks: list[_Mark], end: int) -> tuple[list[_Mark], int]:
    """Leave out what the round has no room for."""
    size = 0
    for taken, mark in enumerate(marks):
        size += mark.size
        if taken and size > ROUND_BYTES:
            return marks[:taken], marks[taken - 1].seq
    return marks, end


def _newest_only(marks: Iterable[_Mark], superseded: Superseded) -> list[_Mark]:
    marks = list(marks)
    newest = {(mark.channel, mark.latest_key): mark.seq for mark in marks}
    return [
        mark
        for mark in marks
        if mark.latest_key is None
        or (
            newest[mark.channel, mark.latest_key] == mark.seq
            and not superseded(mark.channel, mark.latest_key, mark.seq)
        )
    ]


def _choose(reader: Reader, by_channel: dict[str, list[_Mark]], end: int, chunk: int) -> tuple[list[_Mark], int]:
    own = [mark for channel in reader.channels for mark in by_channel.get(channel, ()) if mark.seq > reader.place]
    own.sort(key=lambda mark: mark.seq)
    size = 0
    for taken, mark in enumerate(own):
        if taken and size + mark.size > chunk:
            return own[:taken], own[taken - 1].seq
        size += mark.size
    return own, max(end, reader.place)


def _rows(seqs: set[int], alias: str) -> dict[int, LogRow]:
    if not seqs:
        return {}
    # What was blanked since its mark was read has nothing left to give.
    found = Log.objects.using(alias).filter(seq__in=seqs, channel__isnull=False).values_list(*LogRow._fields)
    return {row[0]: LogRow(*row) for row in found}


_COUNT: Final = f"""
with reader (number, channel, place) as (values {{values}})
select number, sum(missed) from (
    select reader.number, (select {{what}} from (
        select latest_key, seq from {Log._meta.db_table} log
        where log.channel = reader.channel and log.seq > reader.place and log.seq <= {{upto}} limit {{raw}}) counted
    ) as missed from reader) each_channel
group by number order by number
"""
_ROWS: Final = "count(*)"
_EVENTS: Final = "count(distinct coalesce(latest_key, cast(seq as char(20))))"
_MARKS: Final = f"""
select seq, channel, latest_key, {{length}}(payload) from {Log._meta.db_table}
where seq > %s and seq <= %s and channel in ({{channels}}) order by seq limit %s
"""
