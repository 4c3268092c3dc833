"""PostgreSQL: a batch of plain events is numbered by one statement, so there is no transaction to be stopped in."""

from typing import Final

from django.db import connections

from taskbell.models import Log, LogHead, Outbox, Recipient
from taskbell.store.head import Head
from taskbell.store.log import LogRow

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
    with connections[alias].cursor() as cursor:
        cursor.execute(_MOVE, [ids, nonce])
        found = cursor.fetchall()
    if not found:
        return None
    return Head(*found[0][:3]), [LogRow(row[3], nonce, *row[4:]) for row in found]
