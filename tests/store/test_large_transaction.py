"""Large transactions and ids that begin anew, on PostgreSQL: what is committed first is numbered first."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pytest
from django.db import connection

from taskbell import publish
from taskbell.models import Log, Outbox
from taskbell.store.head import create_head
from taskbell.store.tick import BATCH_ROWS, Moved, Ticker
from tests.gateway.real import QUICK, Make, is_, say
from tests.servers.project import Project

# Several batches, and more than the holes that a ticker keeps (`MOST_HOLES`).
SIZES = [5_000, 12_000]
LARGE = """
insert into taskbell_outbox (kind, channel, type, payload, created_at)
select 'event', 'public:news', 'large', i::text, now() from generate_series(1, %s) i
"""


@pytest.fixture
def ticker(project: Callable[[str], Project]) -> Ticker:
    project("postgres")
    create_head("default")
    return Ticker("default")


@pytest.fixture
def writer(ticker: Ticker) -> Iterator[psycopg.Connection]:
    """Somebody who publishes many events in one transaction, as `publish_many` does."""
    parts = connection.settings_dict
    with closing(psycopg.connect(dbname=parts["NAME"], user=parts["USER"], host=parts["HOST"])) as other:
        yield other


def tick_out(ticker: Ticker) -> None:
    """Tick until nothing waits."""
    deadline = time.monotonic() + 10
    while Outbox.objects.exists():
        ticker.tick()
        assert time.monotonic() < deadline, f"{Outbox.objects.count()} rows are left behind"


def numbered() -> list[str]:
    return list(Log.objects.order_by("seq").values_list("payload", flat=True))


@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("settled", [False, True], ids=["unsettled", "settled"])
def test_a_large_transaction_is_not_overtaken(
    ticker: Ticker, writer: psycopg.Connection, rows: int, settled: bool
) -> None:
    """It took its ids before the first sighting and is committed after it; one batch does not hold it."""
    if settled:
        publish("public:news", "message", "before")
        for _ in range(3):
            ticker.tick()
    writer.execute(LARGE, [rows])
    publish("public:news", "message", "first")
    assert isinstance(ticker.tick(), Moved)
    writer.commit()
    ticker.tick()
    publish("public:news", "message", "after")
    tick_out(ticker)
    in_order = [str(number) for number in range(1, rows + 1)]
    assert numbered() == [*['"before"'] * settled, '"first"', *in_order, '"after"']


def test_a_large_transaction_among_steady_writers(ticker: Ticker, writer: psycopg.Connection) -> None:
    """Each batch is cut short while newer rows keep coming above."""
    writer.execute(LARGE, [3 * BATCH_ROWS])
    publish("public:news", "message", "first")
    ticker.tick()
    writer.commit()
    for number in range(10):
        publish("public:news", "message", f"after {number}")
        ticker.tick()
    tick_out(ticker)
    assert numbered()[1:-10] == [str(number) for number in range(1, 3 * BATCH_ROWS + 1)]


@pytest.mark.proof
def test_after_a_flush_that_begins_ids_anew_the_next_event_is_not_late(project: Make) -> None:
    """The ids are below those that a ticker has passed; before, they waited for its next scan of everything."""
    one = project("postgres")
    one.configure(**QUICK)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        for number in range(5):
            say(number)
            stream.until(is_(number))
        flushed = one.run("flush", "--no-input")
        assert flushed.returncode == 0, flushed.stderr
        stream.until("reset")
        say("after")
        began = time.monotonic()
        stream.until(is_("after"), timeout=5)
        assert time.monotonic() - began < 2.5, "POLL, and a slow machine"
