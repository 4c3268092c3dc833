"""Reading the log. Every read says whether the reader's place is still part of this history."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from django.db import connections
from django.utils import timezone

from taskbell.ground.cursor import MAX_SEQ, NONCE_AT_ZERO, Cursor
from taskbell.models import Log, LogHead
from taskbell.store.head import Head
from taskbell.store.prepared import Prepared

# A place whose row is gone (somebody emptied the table beside the head) is continued like the beginning.
NONCE_OF_NO_ROW: Final = NONCE_AT_ZERO
PAGE_ROWS: Final = 1_000
# What a row costs in memory beside its payload.
ROW_OVERHEAD: Final = 400


class LogRow(NamedTuple):
    """A numbered event; `channel` is None once it was blanked."""

    seq: int
    nonce: str
    channel: str | None
    type: str
    payload: str
    latest_key: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows after a place, ascending and gap-free, with the head of the same snapshot."""

    head: Head
    rows: Sequence[LogRow]


@dataclass(frozen=True, slots=True)
class Lost:
    """The place is not part of this history any more; `head` is where the log stands."""

    reason: Literal["expired", "rewritten"]
    head: Head


def read_after(place: Cursor, alias: str, limit: int = PAGE_ROWS) -> Page | Lost | None:
    """Return the page after `place`, `Lost` if the place cannot be continued, None while there is no head.

    One statement, so head and rows are of one snapshot. The row at `place` itself is read too, for its nonce.
    """
    found = _READ.ask(alias, [place.seq, limit + 1])
    if not found:
        return None
    head = Head(*found[0][:3])
    rows = [LogRow(*row[3:]) for row in found if row[3] is not None]
    if reason := _why_lost(place, head, rows):
        return Lost(reason, head)
    return Page(head, [row for row in rows if row.seq > place.seq])


def place_of_head(alias: str) -> Cursor | None:
    """Return the newest place, None while there is no head."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_NEWEST)
        found = cursor.fetchone()
    return Cursor(found[0], found[1], found[2] or NONCE_OF_NO_ROW) if found else None


def tail(alias: str, most_bytes: int) -> list[LogRow]:
    """Return the newest rows, ascending, as many as `most_bytes` of payload hold."""
    rows: list[LogRow] = []
    size, below = 0, MAX_SEQ
    while size < most_bytes:
        older = Log.objects.using(alias).filter(seq__lt=below).order_by("-seq")
        page = [LogRow(*row) for row in older.values_list(*LogRow._fields)[:PAGE_ROWS]]
        rows += page
        if len(page) < PAGE_ROWS:
            break
        size += sum(len(row.payload) + ROW_OVERHEAD for row in page)
        below = page[-1].seq
    return rows[::-1]


def append(rows: Sequence[LogRow], alias: str) -> None:
    """Write numbered rows; for the tick alone, under the head's lock. As text: ten times as fast as model objects."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":  # one clock for all gateways
            cursor.executemany(_APPEND.format(now="clock_timestamp()"), rows)
        else:
            now = connection.ops.adapt_datetimefield_value(timezone.now())
            cursor.executemany(_APPEND.format(now="%s"), [(*row, now) for row in rows])


def _why_lost(place: Cursor, head: Head, rows: Sequence[LogRow]) -> Literal["expired", "rewritten"] | None:
    if place.log_id != head.log_id or place.seq > head.seq:
        return "rewritten"
    if place.seq == 0:
        if head.floor > 1:
            return "expired"
        return None if place.nonce == NONCE_AT_ZERO else "rewritten"
    if place.seq < head.floor:
        return "expired"
    if rows and rows[0].seq == place.seq:
        return None if rows[0].nonce == place.nonce else "rewritten"
    whole = rows[0].seq == place.seq + 1 if rows else place.seq == head.seq
    return None if whole and place.nonce == NONCE_OF_NO_ROW else "rewritten"


_LOG_COLUMNS: Final = ", ".join(f"log.{name}" for name in LogRow._fields)
_READ: Final = Prepared(f"""
select head.seq, head.floor, head.log_id, {_LOG_COLUMNS}
from {LogHead._meta.db_table} head
left join (select * from {Log._meta.db_table} where seq >= %s order by seq limit %s) log on 1 = 1
where head.one = 1 order by log.seq
""")
_APPEND: Final = f"""
insert into {Log._meta.db_table} ({", ".join(LogRow._fields)}, sequenced_at) values (%s, %s, %s, %s, %s, %s, {{now}})
"""
_NEWEST: Final = f"""
select head.log_id, head.seq, log.nonce from {LogHead._meta.db_table} head
left join {Log._meta.db_table} log on log.seq = head.seq where head.one = 1
"""
