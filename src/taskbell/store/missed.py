"""Reading what streams missed: many readers, one ascending scan of the log.

A round serves each reader with at most `chunk` bytes. It costs the same few statements for one reader as for
hundreds, so a storm of returning browsers is bounded by pages of the log and not by streams.
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
# SQLite takes 500 terms in one compound SELECT.
COUNTS_IN_ONE: Final = 400

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
    """One round for many readers, up to the number of `upto`.

    `limit` bounds the events of a reader that is still unchecked, `chunk` the payload bytes of one answer;
    `superseded(channel, latest_key, seq)` tells of newer progress that comes later anyway.
    """

    readers: Sequence[Reader]
    upto: Cursor
    limit: int
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


def read_missed(round: Round, alias: str) -> list[Missed | Reason]:
    """Return for each reader of the round its next rows, or why it cannot be continued."""
    refused = _refused(round, alias)
    going_on = [reader for index, reader in enumerate(round.readers) if index not in refused]
    served = iter(_serve(going_on, round, alias))
    answers = [refused[index] if index in refused else next(served) for index in range(len(round.readers))]
    # Rows may have been pruned while they were read: only a floor still below the place proves that none was.
    head = read_head(alias)
    return [
        answer if isinstance(answer, str) else _still_whole(answer, reader, head, round.upto)
        for answer, reader in zip(answers, round.readers, strict=True)
    ]


def _still_whole(answer: Missed, reader: Reader, head: Head | None, upto: Cursor) -> Missed | Reason:
    if head is None or head.log_id != upto.log_id:
        return "rewritten"
    return answer if head.floor <= reader.place + 1 else "expired"


def _refused(round: Round, alias: str) -> dict[int, Reason]:
    new = {index: reader.unchecked for index, reader in enumerate(round.readers) if reader.unchecked is not None}
    if not new:
        return {}
    head = read_head(alias)
    nonces = dict(Log.objects.using(alias).filter(seq__in={c.seq for c in new.values()}).values_list("seq", "nonce"))
    nonces[0] = NONCE_AT_ZERO
    refused: dict[int, Reason] = {}
    for index, cursor in new.items():
        if head is None or cursor.log_id != head.log_id or cursor.seq > head.seq:
            refused[index] = "rewritten"
        elif cursor.seq < head.floor and not cursor.seq == 0 < head.floor <= 1:
            refused[index] = "expired"
        elif nonces.get(cursor.seq) != cursor.nonce:
            refused[index] = "rewritten"
    counted = [index for index in new if index not in refused]
    counts = _counts([round.readers[index] for index in counted], round.upto.seq, round.limit, alias)
    for index, count in zip(counted, counts, strict=True):
        if count > round.limit:
            refused[index] = "too_much"
    return refused


def _counts(readers: Sequence[Reader], upto: int, limit: int, alias: str) -> list[int]:
    """Return how many events each reader missed, progress counted once a key; exact up to `limit`."""
    counts: list[int] = []
    raw = limit * RAW_PER_EVENT + 1
    for start in range(0, len(readers), COUNTS_IN_ONE):
        some = readers[start : start + COUNTS_IN_ONE]
        sql: list[str] = []
        parameters: list[str | int] = []
        for number, reader in enumerate(some):
            sql.append(_COUNT.format(number=number, channels=", ".join(["%s"] * len(reader.channels))))
            parameters += [*reader.channels, reader.place, upto, raw]
        with connections[alias].cursor() as cursor:
            cursor.execute(" union all ".join(sql) + " order by 1", parameters)
            counts += [events if rows < raw else limit + 1 for _, events, rows in cursor.fetchall()]
    return counts


def _serve(readers: Sequence[Reader], round: Round, alias: str) -> list[Missed]:
    if not readers:
        return []
    channels = {channel for reader in readers for channel in reader.channels}
    marks, end = _marks(channels, min(reader.place for reader in readers), round.upto.seq, alias)
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
        cursor.execute(sql, [after, upto, *channels, PAGE_MARKS])
        marks = [_Mark(*row) for row in cursor.fetchall()]
    return marks, marks[-1].seq if len(marks) == PAGE_MARKS else upto


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
select {{number}}, count(distinct coalesce(latest_key, cast(seq as char(20)))), count(*) from (
    select latest_key, seq from {Log._meta.db_table}
    where channel in ({{channels}}) and seq > %s and seq <= %s limit %s) counted{{number}}
"""
_MARKS: Final = f"""
select seq, channel, latest_key, {{length}}(payload) from {Log._meta.db_table}
where seq > %s and seq <= %s and channel in ({{channels}}) order by seq limit %s
"""
