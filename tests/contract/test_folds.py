"""Folds in the tick, on every database: order, numbers, and rows that cannot be folded."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from django.db import DataError, OperationalError, ProgrammingError

from taskbell import publish
from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log, Outbox, Recipient
from taskbell.store.folds import Entry, Numbered
from taskbell.store.head import read_head
from taskbell.store.log import place_of_head
from taskbell.store.tick import BATCH_ROWS as TICK_ROWS
from taskbell.store.tick import Moved, Ticker
from tests.contract.ticking import (
    ALIAS,
    Clock,
    User,
    channel_of,
    committing,
    moved,
    moved_while_more,
    payloads,
    payloads_waiting,
)
from tests.store.folding import Recording, as_event, entry, fact, folding

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


def refuse_all(entries: Sequence[Numbered], using: str) -> None:
    raise DataError("out of range")


class TestFolds:
    def test_numbers_follow_the_outbox_over_events_and_facts(self, ticker: Ticker) -> None:
        with folding("odd") as odd, folding("even") as even:
            for n in range(1, 13):
                match n % 3:
                    case 0:
                        publish("public:news", "message", n)
                    case 1:
                        fact("odd", n)
                    case 2:
                        fact("even", n)
            rows = moved(ticker)
        assert payloads(rows) == list(range(1, 13))
        assert [row.seq for row in rows] == list(range(1, 13))
        assert odd.told == [[(n, n) for n in (1, 4, 7, 10)]]
        assert even.told == [[(n, n) for n in (2, 5, 8, 11)]]
        assert len(odd.batches) == len(even.batches) == 1

    def test_a_fact_that_changes_nothing_takes_no_number(self, ticker: Ticker) -> None:
        with folding("proof", lambda row, using: [entry(row)] if json.loads(row.payload) % 2 else []) as fold:
            for n in range(1, 6):
                fact("proof", n)
                publish("public:news", "message", n * 10)
            rows = moved(ticker)
        assert payloads(rows) == [1, 10, 20, 3, 30, 40, 5, 50]
        assert [row.seq for row in rows] == list(range(1, 9))
        assert fold.told == [[(1, 1), (4, 3), (7, 5)]]
        assert not Outbox.objects.exists()

    def test_nothing_but_silent_facts_moves_nothing(self, ticker: Ticker) -> None:
        with folding("proof", lambda row, using: []):
            fact("proof", 1)
            assert moved(ticker) == []
        assert not Outbox.objects.exists()
        assert place_of_head(ALIAS) == Cursor(read_head(ALIAS).log_id, 0, NONCE_AT_ZERO)

    def test_one_fact_may_cause_several_events(self, ticker: Ticker, ada: Any) -> None:
        to_both = lambda row, using: [  # noqa: E731
            entry(row, payload='"a"', latest_key="run-1"),
            entry(row, payload='"b"', channel=None, user_key=str(ada.pk)),
        ]
        with folding("proof", to_both) as fold:
            publish("public:news", "message", "before")
            fact("proof", 1)
            publish("public:news", "message", "after")
            rows = moved(ticker)
        assert payloads(rows) == ["before", "a", "b", "after"]
        assert [row.channel for row in rows] == ["public:news", "public:facts", channel_of(ada), "public:news"]
        assert [row.latest_key for row in rows] == [None, "run-1", None, None]
        assert fold.told == [[(2, "a"), (3, "b")]]

    def test_a_bad_fact_stops_only_itself(self, ticker: Ticker, caplog: pytest.LogCaptureFixture) -> None:
        def unless_bad(row: Outbox, using: str) -> list[Any]:
            Recipient.objects.using(using).create(user_key=f"written by {row.payload}")
            if row.payload == "3":
                raise ValueError("I cannot fold this")
            return [entry(row)]

        with folding("proof", unless_bad) as fold:
            for n in range(1, 6):
                fact("proof", n)
            publish("public:news", "message", 6)
            assert payloads(moved(ticker)) == [1, 2, 4, 5, 6]
            assert ticker.tick() == Moved()
        [bad] = Outbox.objects.all()
        assert bad.payload == "3"
        assert bad.failed_at is not None
        assert ticker.failed == 1
        assert fold.told == [[(1, 1), (2, 2), (3, 4), (4, 5)]]
        # What its fold wrote before it raised is gone with it, and nothing was written twice.
        assert {recipient.user_key[-1] for recipient in Recipient.objects.all()} == set("1245")
        assert f"row {bad.id} of kind 'proof' cannot be folded" in caplog.text

    def test_an_unknown_kind_is_set_aside(self, ticker: Ticker, caplog: pytest.LogCaptureFixture) -> None:
        publish("public:news", "message", 1)
        fact("of tomorrow", 2)
        publish("public:news", "message", 3)
        assert payloads(moved(ticker)) == [1, 3]
        assert [row.seq for row in Log.objects.order_by("seq")] == [1, 2]
        assert payloads_waiting() == [2]
        assert ticker.failed == 1
        assert "'of tomorrow'" in caplog.text
        assert ticker.tick() == Moved()

    @committing
    def test_the_databases_trouble_is_not_the_rows(self, ticker: Ticker) -> None:
        trouble = [OperationalError("disk full"), OperationalError("deadlock detected")]

        def while_it_lasts(row: Outbox, using: str) -> list[Any]:
            if trouble:
                raise trouble.pop()
            return [entry(row)]

        with folding("proof", while_it_lasts):
            publish("public:news", "message", 1)
            fact("proof", 2)
            for _ in range(2):
                with pytest.raises(OperationalError):
                    ticker.tick()
                assert not Log.objects.exists()
                assert Outbox.objects.filter(failed_at=None).count() == 2
            assert payloads(moved(ticker)) == [1, 2]
        assert ticker.failed == 0

    @committing
    def test_log_and_tables_of_a_fold_are_one(self, ticker: Ticker) -> None:
        """A tick that fails at its very end leaves nothing of what the folds wrote."""

        class Interrupted(BaseException):
            pass

        def write(row: Outbox, using: str) -> list[Any]:
            Recipient.objects.using(using).create(user_key="written")
            return [entry(row)]

        with folding("proof", write) as fold, pytest.MonkeyPatch.context() as patch:

            def interrupt(entries: object, using: str) -> None:
                raise Interrupted

            patch.setattr(fold, "numbered", interrupt)
            fact("proof", 1)
            with pytest.raises(Interrupted):
                ticker.tick()
            assert not Recipient.objects.exists()
            assert not Log.objects.exists()
            patch.undo()
            assert payloads(moved(ticker)) == [1]
        assert Recipient.objects.count() == 1

    def test_a_row_that_its_fold_cannot_write_is_set_aside_alone(
        self, ticker: Ticker, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(entries: Sequence[Numbered], using: str) -> None:
            if any(one.entry.payload == "7" for one in entries):
                raise DataError("too long for its column")

        with folding("proof", lambda row, using: [entry(row)]) as fold, pytest.MonkeyPatch.context() as patch:
            patch.setattr(fold, "numbered", refuse)
            for number in range(10):
                fact("proof", number)
            told = payloads(moved_while_more(ticker))
        assert told == [0, 1, 2, 3, 4, 5, 6, 8, 9]
        assert Outbox.objects.get().payload == "7"
        assert Outbox.objects.get().failed_at is not None
        assert (ticker.failed, read_head(ALIAS).seq) == (1, 9)
        assert "is set aside" in caplog.text

    def test_so_is_one_whose_harm_shows_in_what_others_caused(self, ticker: Ticker) -> None:
        """The fold tells only the last of a batch, and that holds what the rows before it have changed."""

        class Summing(Recording):
            def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
                total = sum(json.loads(row.payload) for row in rows)
                return [entry(rows[-1], payload=str(total))]

            def numbered(self, entries: Sequence[Numbered], using: str) -> None:
                if any(int(one.entry.payload) >= 100 for one in entries):
                    raise DataError("out of range")

        with folding("proof", fold=Summing(as_event)):
            for number in (1, 2, 100, 3):
                fact("proof", number)
            assert sum(payloads(moved_while_more(ticker))) == 6
        assert Outbox.objects.get().payload == "100"

    def test_rows_that_quarrel_only_together_go_one_after_the_other(self, ticker: Ticker) -> None:
        """And each sees what those before it have changed, so none is folded into what is not true any more."""

        class Counting(Recording):
            total = 0

            def fold(self, rows: Sequence[Outbox], using: str) -> list[Entry]:
                if len(rows) > 1:
                    raise ValueError("I can only do one")
                return [entry(row, payload=str(self.total + 1)) for row in rows]

            def numbered(self, entries: Sequence[Numbered], using: str) -> None:
                self.total += len(entries)

        with folding("proof", fold=Counting(as_event)):
            for number in range(5):
                fact("proof", number)
            assert payloads(moved_while_more(ticker)) == [1, 2, 3, 4, 5]
        assert ticker.failed == 0

    def test_only_the_fold_that_refuses_is_narrowed(self, ticker: Ticker) -> None:
        with folding("sound") as sound, folding("bad") as bad, pytest.MonkeyPatch.context() as patch:
            patch.setattr(bad, "numbered", refuse_all)
            for number in range(3):
                fact("sound", number)
            fact("bad", 3)
            publish("public:news", "message", 4)
            assert payloads(moved_while_more(ticker)) == [0, 1, 2, 4]
        assert len(sound.batches) == 2, "once with the bad row, once without"
        assert Outbox.objects.get().kind == "bad"

    def test_rows_that_wait_for_an_account_keep_no_bad_row_in_the_way(self, ticker: Ticker, clock: Clock) -> None:
        late = [User(pk=4_000 + number, username=f"late{number}") for number in range(3)]
        with folding("proof") as fold, pytest.MonkeyPatch.context() as patch:
            patch.setattr(fold, "numbered", refuse_all)
            for user in late:
                fact("proof", user.pk, channel=None, user_key=str(user.pk))
            assert moved_while_more(ticker) == []
            fact("proof", 1)
            publish("public:news", "message", 2)
            assert payloads(moved_while_more(ticker)) == [2]
            # Two become visible together with one more that cannot be written.
            late[0].save(), late[1].save()
            fact("proof", 3)
            publish("public:news", "message", 4)
            assert payloads(moved_while_more(ticker)) == [4]
        assert ticker.failed == 4
        waiting = Outbox.objects.get(failed_at=None)
        assert waiting.user_key == str(late[2].pk)

    def test_a_fold_that_caused_nothing_learns_no_numbers(self, ticker: Ticker) -> None:
        with folding("silent", lambda row, using: []) as silent, folding("proof"):
            fact("silent", 1)
            fact("proof", 2)
            assert payloads(moved(ticker)) == [2]
        assert silent.told == []

    def test_facts_that_change_nothing_hold_up_nobody(self, ticker: Ticker) -> None:
        with folding("silent", lambda row, using: []):
            for number in range(TICK_ROWS):
                fact("silent", number)
            publish("public:news", "message", "behind them")
            assert payloads(moved_while_more(ticker)) == ["behind them"]

    def test_a_database_in_trouble_sets_nothing_aside(self, ticker: Ticker) -> None:
        def no_table(entries: object, using: str) -> None:
            raise ProgrammingError("relation does not exist")

        with folding("proof", lambda row, using: [entry(row)]) as fold, pytest.MonkeyPatch.context() as patch:
            patch.setattr(fold, "numbered", no_table)
            fact("proof", 1)
            with pytest.raises(ProgrammingError):
                ticker.tick()
        assert Outbox.objects.get().failed_at is None
