"""Empties an outbox by ticks and, in turn, by the two plain SQL statements that move as many rows of the same size.

Prints a JSON list of rounds: seconds of each way for all rows, and milliseconds of every single tick.
"""

import argparse
import json
import sys
import time
from typing import Any, Final

import django
from django.db import connection, transaction

PAYLOAD: Final = {"stamp": "t=1234567890123456", "pad": "x" * 40}
INSERT_ROWS: Final = 80

# Nothing is checked, numbered or locked here: what the database itself takes to move rows.
PLAIN_INSERT: Final = """
insert into bench_moved (seq, nonce, channel, type, payload, latest_key, sequenced_at)
select id, '00000000', channel, type, payload, latest_key, created_at from taskbell_outbox where id <= %s
"""
PLAIN_DELETE: Final = "delete from taskbell_outbox where id <= %s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    ways = [by_ticks, by_plain_sql]
    run_round([by_ticks, by_plain_sql], min(options.rows, 2_000))  # what is done once is done before
    rounds = [run_round(ways[:: 1 if number % 2 else -1], options.rows) for number in range(options.rounds)]
    json.dump(rounds, sys.stdout)


def run_round(ways: list[Any], rows: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for way in ways:
        fill(rows)
        out |= way(rows)
    return out


def fill(rows: int) -> None:
    """Put `rows` events into the outbox and have the database settle."""
    from taskbell import publish_many

    with transaction.atomic():
        publish_many(("public:bench", "message", PAYLOAD) for _ in range(rows))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("vacuum analyze taskbell_outbox")
        else:
            cursor.execute("pragma wal_checkpoint(truncate)")


def by_ticks(rows: int) -> dict[str, Any]:
    from taskbell.store.head import create_head
    from taskbell.store.tick import NoHead, Ticker

    ticker, moved, ticks_ms = Ticker(), 0, []
    began = time.perf_counter()
    while moved < rows:
        before = time.perf_counter()
        answer = ticker.tick()
        ticks_ms.append((time.perf_counter() - before) * 1e3)
        if isinstance(answer, NoHead):
            create_head(ticker.alias)
        elif len(answer) == 0:  # type: ignore[arg-type]
            raise RuntimeError(f"a tick moved nothing ({answer}) with {rows - moved} rows waiting")
        else:
            moved += len(answer)  # type: ignore[arg-type]
    return {"tick_seconds": time.perf_counter() - began, "ticks_ms": ticks_ms}


def by_plain_sql(rows: int) -> dict[str, Any]:
    from taskbell.models import Outbox
    from taskbell.store.tick import BATCH_ROWS

    first = Outbox.objects.order_by("id").values_list("id", flat=True)[0]
    began = time.perf_counter()
    for last in range(first + BATCH_ROWS - 1, first + rows + BATCH_ROWS - 1, BATCH_ROWS):
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in (PLAIN_INSERT, PLAIN_DELETE):
                cursor.execute(statement, [last])
    seconds = time.perf_counter() - began
    if left := Outbox.objects.count():
        raise RuntimeError(f"the plain statements left {left} rows")
    return {"plain_seconds": seconds}


if __name__ == "__main__":
    main()
