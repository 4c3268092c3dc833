"""Moving a batch of plain events: nothing to fold, every channel known. Most batches are, so this is done in SQL."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db import connections

from taskbell.ground.events import recipient_channel
from taskbell.models import Log, LogHead, Outbox, Recipient
from taskbell.store.head import Head, lock_head
from taskbell.store.log import LogRow, append
from taskbell.store.prepared import Prepared
from taskbell.store.waiting import READ, AboveLowWater, Waiting
from taskbell.store.write_lock import write_transaction

_TAKE: Final = f"""
select o.channel, r.id, o.type, o.payload, o.latest_key from {Outbox._meta.db_table} o
left join {Recipient._meta.db_table} r on r.user_key = o.user_key where o.id in ({{places}}) order by o.id
"""
_DELETE: Final = f"delete from {Outbox._meta.db_table} where id in ({{places}})"
_RAISE: Final = f"update {LogHead._meta.db_table} set seq = %s where one = 1"
# What waits and the move in one statement: asked one after the other they are a quarter of the way of a single event.
_MOVE: Final = Prepared(f"""
with waiting as materialized ({READ}),
head as materialized (
    select seq, floor, log_id from {LogHead._meta.db_table}
    where one = 1 and (select bool_and(plain) from waiting) for update skip locked),
taken as (
    delete from {Outbox._meta.db_table}
    where id = any((select array_agg(id) from waiting)::bigint[]) and exists (select 1 from head) returning *),
numbered as (
    select taken.id, (select seq from head) + row_number() over (order by taken.id) as seq,
           coalesce(taken.channel, 'user:' || recipient.id::text) as channel,
           taken.type, taken.latest_key,
           -- Between the look and this moment another ticker may have forgotten the person.
           case when taken.channel is null and recipient.id is null then '' else taken.payload end as payload
    from taken left join {Recipient._meta.db_table} recipient on recipient.user_key = taken.user_key),
logged as (
    insert into {Log._meta.db_table} (seq, nonce, channel, type, payload, latest_key, sequenced_at)
    select seq, %s, channel, type, payload, latest_key, clock_timestamp() from numbered returning seq),
moved as (
    update {LogHead._meta.db_table} set seq = (select max(seq) from logged)
    where one = 1 and exists (select 1 from logged))
select waiting.id, waiting.plain, head.seq, head.floor, head.log_id,
       numbered.seq, numbered.channel, numbered.type, numbered.payload, numbered.latest_key
from waiting left join head on true left join numbered on numbered.id = waiting.id order by waiting.id
""")


@dataclass(frozen=True, slots=True)
class Seen:
    """The ids that wait, and whether all are plain events; if they are, the head that was found and the rows it moved.

    `moved` is None when another ticker holds the head, took the rows, or there is no head; and where not all are plain.
    """

    ids: list[int]
    all_plain: bool
    moved: tuple[Head, list[LogRow]] | None = None


def move_what_waits(waiting: Waiting, limit: int, kept: Collection[int], nonce: str) -> Seen:
    """Read what waits, as `Waiting.read`; number it if all of it is plain."""
    if isinstance(waiting, AboveLowWater):
        return _in_one_statement(waiting, limit, kept, nonce)
    ids, all_plain = waiting.read(limit, kept)
    return Seen(ids, all_plain, move(waiting.alias, ids, nonce) if ids and all_plain else None)


def move(alias: str, ids: list[int], nonce: str) -> tuple[Head, list[LogRow]] | None:
    """Number these rows; None when another ticker holds the head, or there is none."""
    with write_transaction(alias):
        head = lock_head(alias)
        return (head, _in_few_statements(alias, ids, nonce, head)) if head is not None else None


def _in_one_statement(waiting: AboveLowWater, limit: int, kept: Collection[int], nonce: str) -> Seen:
    """PostgreSQL: one statement, so there is no transaction that a ticker could be stopped in."""
    found = waiting.look(_MOVE, limit, kept, nonce)
    rows = [LogRow(row[5], nonce, *row[6:]) for row in found if row[5] is not None]
    moved = (Head(*found[0][2:5]), rows) if rows else None
    return Seen([row[0] for row in found], all(row[1] for row in found), moved)


def _in_few_statements(alias: str, ids: list[int], nonce: str, head: Head) -> list[LogRow]:
    places = ", ".join(["%s"] * len(ids))
    with connections[alias].cursor() as cursor:
        cursor.execute(_TAKE.format(places=places), ids)
        rows = [
            LogRow(seq, nonce, channel or recipient_channel(UUID(str(recipient))), type, payload, latest_key)
            for seq, (channel, recipient, type, payload, latest_key) in enumerate(cursor.fetchall(), start=head.seq + 1)
        ]
        cursor.execute(_DELETE.format(places=places), ids)
        if rows:
            append(rows, alias)
            cursor.execute(_RAISE, [rows[-1].seq])
    return rows
