"""Moving a batch of plain events: nothing to fold, every channel known. Most batches are, so this is done in SQL."""

from typing import Final
from uuid import UUID

from django.db import connections

from taskbell.models import Log, LogHead, Outbox, Recipient
from taskbell.store.head import Head, lock_head
from taskbell.store.log import LogRow, append
from taskbell.store.write_lock import write_transaction

_TAKE: Final = f"""
select o.channel, r.id, o.type, o.payload, o.latest_key from {Outbox._meta.db_table} o
left join {Recipient._meta.db_table} r on r.user_key = o.user_key where o.id in ({{places}}) order by o.id
"""
_DELETE: Final = f"delete from {Outbox._meta.db_table} where id in ({{places}})"
_RAISE: Final = f"update {LogHead._meta.db_table} set seq = %s where one = 1"
_MOVE: Final = f"""
with head as materialized (
    select seq, floor, log_id from {LogHead._meta.db_table} where one = 1 for update skip locked),
taken as (
    delete from {Outbox._meta.db_table} where id = any(%s::bigint[]) and exists (select 1 from head) returning *),
numbered as (
    select (select seq from head) + row_number() over (order by taken.id) as seq,
           coalesce(taken.channel, 'user:' || recipient.id::text) as channel,
           taken.type, taken.payload, taken.latest_key
    from taken left join {Recipient._meta.db_table} recipient on recipient.user_key = taken.user_key),
logged as (
    insert into {Log._meta.db_table} (seq, nonce, channel, type, payload, latest_key, sequenced_at)
    select seq, %s, channel, type, payload, latest_key, clock_timestamp() from numbered returning seq),
moved as (
    update {LogHead._meta.db_table} set seq = (select max(seq) from logged)
    where one = 1 and exists (select 1 from logged))
select head.seq, head.floor, head.log_id,
       numbered.seq, numbered.channel, numbered.type, numbered.payload, numbered.latest_key
from head, numbered order by numbered.seq
"""


def move(alias: str, ids: list[int], nonce: str) -> tuple[Head, list[LogRow]] | None:
    """Number these rows; None when another ticker holds the head, took the rows, or there is no head."""
    if connections[alias].vendor == "postgresql":
        return _in_one_statement(alias, ids, nonce)
    with write_transaction(alias):
        head = lock_head(alias)
        return (head, _in_few_statements(alias, ids, nonce, head)) if head is not None else None


def _in_one_statement(alias: str, ids: list[int], nonce: str) -> tuple[Head, list[LogRow]] | None:
    """PostgreSQL: one statement, so there is no transaction that a ticker could be stopped in."""
    with connections[alias].cursor() as cursor:
        cursor.execute(_MOVE, [ids, nonce])
        found = cursor.fetchall()
    if not found:
        return None
    return Head(*found[0][:3]), [LogRow(row[3], nonce, *row[4:]) for row in found]


def _in_few_statements(alias: str, ids: list[int], nonce: str, head: Head) -> list[LogRow]:
    places = ", ".join(["%s"] * len(ids))
    with connections[alias].cursor() as cursor:
        cursor.execute(_TAKE.format(places=places), ids)
        rows = [
            LogRow(seq, nonce, channel or f"user:{UUID(str(recipient))}", type, payload, latest_key)
            for seq, (channel, recipient, type, payload, latest_key) in enumerate(cursor.fetchall(), start=head.seq + 1)
        ]
        cursor.execute(_DELETE.format(places=places), ids)
        if rows:
            append(rows, alias)
            cursor.execute(_RAISE, [rows[-1].seq])
    return rows
