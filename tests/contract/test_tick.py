"""The tick, on every database: what it answers, and what it makes of rows."""

from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from taskbell import publish, publish_many
from taskbell.models import Log, Outbox
from taskbell.store.head import create_head, read_head
from taskbell.store.log import LogRow
from taskbell.store.tick import BATCH_ROWS as TICK_ROWS
from taskbell.store.tick import Busy, Moved, NoHead, Ticker
from tests.contract.ticking import ALIAS, Clock, committing, moved, payloads, payloads_waiting
from tests.store.folding import fact, folding

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


class TestTick:
    def test_answers_what_it_moved_and_the_head_it_found(self, ticker: Ticker) -> None:
        publish("public:a", "message", 1)
        publish("public:b", "note", 2)
        answer = ticker.tick()
        assert isinstance(answer, Moved)
        assert len(answer) == 2
        assert answer.before is not None
        assert answer.before.seq == 0
        assert not answer.more
        assert [row[0] for row in answer.rows] == [1, 2]
        assert [row[2:] for row in answer.rows] == [
            ("public:a", "message", "1", None),
            ("public:b", "note", "2", None),
        ]
        assert [LogRow(*row) for row in Log.objects.order_by("seq").values_list(*LogRow._fields)] == answer.rows
        assert read_head(ALIAS) == type(answer.before)(2, 1, answer.before.log_id)
        assert not Outbox.objects.exists()

    def test_moves_nothing_when_nothing_waits(self, ticker: Ticker) -> None:
        assert ticker.tick() == Moved()

    def test_says_when_there_is_no_head(self, clock: Clock) -> None:
        ticker = Ticker(ALIAS, clock)
        publish("public:news", "message", 1)
        assert ticker.tick() == NoHead()
        assert payloads_waiting() == [1]
        create_head(ALIAS)
        assert payloads(moved(ticker)) == [1]

    @committing
    @pytest.mark.parametrize("plain", [True, False])
    def test_says_when_another_ticker_is_at_it(self, ticker: Ticker, plain: bool) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("SQLite's one lock makes the second ticker wait instead")
        publish("public:news", "message", 1)
        with folding("proof"):
            if not plain:
                fact("proof", 2)
            other = connections.create_connection(ALIAS)
            try:
                other.set_autocommit(False)
                with other.cursor() as cursor:
                    cursor.execute("select * from taskbell_log_head for update")
                assert ticker.tick() == Busy()
                other.rollback()
            finally:
                other.close()
            assert payloads(moved(ticker)) == ([1] if plain else [1, 2])

    def test_rows_of_one_tick_share_a_nonce(self, ticker: Ticker) -> None:
        publish_many(("public:news", "message", n) for n in range(3))
        first = {row.nonce for row in moved(ticker)}
        publish("public:news", "message", 4)
        second = {row.nonce for row in moved(ticker)}
        assert len(first) == len(second) == 1
        assert not first & second

    def test_takes_so_many_at_a_time(self, ticker: Ticker) -> None:
        publish_many(("public:news", "message", n) for n in range(TICK_ROWS + 1))
        first, second = ticker.tick(), ticker.tick()
        assert isinstance(first, Moved)
        assert isinstance(second, Moved)
        assert (len(first), first.more, len(second), second.more) == (TICK_ROWS, True, 1, False)
        assert [row.seq for row in [*first.rows, *second.rows]] == list(range(1, TICK_ROWS + 2))
        assert payloads([*first.rows, *second.rows]) == list(range(TICK_ROWS + 1))


def _age(by: timedelta) -> None:
    for row in Outbox.objects.all():
        row.created_at -= by
        row.save()


def test_times_are_the_ticks_not_the_writers(ticker: Ticker) -> None:
    publish("public:news", "message", 1)
    _age(timedelta(days=2))
    before = timezone.now() - timedelta(seconds=5)
    moved(ticker)
    assert Log.objects.get().sequenced_at > before
