"""From `publish` to a reader, on every database: what the store promises without any process around it."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group
from django.db import DataError, OperationalError, ProgrammingError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from taskbell import apublish, publish, publish_many
from taskbell.exceptions import InvalidChannel, InvalidEvent, InvalidPayload
from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log, LogHead, Outbox, Recipient
from taskbell.store.folds import Entry, Numbered
from taskbell.store.head import create_head, new_epoch, read_head
from taskbell.store.log import LogRow, Lost, Page, place_of_head, read_after, tail
from taskbell.store.outbox import BATCH_ROWS
from taskbell.store.tick import ACCOUNT_SECONDS, KEEP_SECONDS, Busy, Moved, NoHead, Ticker
from taskbell.store.tick import BATCH_ROWS as TICK_ROWS
from tests.store.folding import Recording, as_event, entry, fact, folding

ALIAS = "default"
pytestmark = [pytest.mark.contract, pytest.mark.django_db]
committing = pytest.mark.django_db(transaction=True)

User = get_user_model()


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ticker(clock: Clock) -> Ticker:
    create_head(ALIAS)
    return Ticker(ALIAS, clock)


@pytest.fixture
def ada() -> Any:
    return User.objects.create(username="ada")


def moved(ticker: Ticker) -> list[LogRow]:
    answer = ticker.tick()
    assert isinstance(answer, Moved), answer
    return list(answer.rows)


def moved_while_more(ticker: Ticker) -> list[LogRow]:
    """Tick as a gateway does, for as long as there is more; within some hundred ticks that must end."""
    rows: list[LogRow] = []
    for _ in range(200):
        answer = ticker.tick()
        assert isinstance(answer, Moved), answer
        rows += answer.rows
        if not answer.more:
            return rows
    raise AssertionError("there is always more")


def refuse_all(entries: Sequence[Numbered], using: str) -> None:
    raise DataError("out of range")


def payloads(rows: list[LogRow]) -> list[Any]:
    return [json.loads(row.payload) for row in rows]


def wait_for(user: Any) -> str:
    return Recipient.objects.get(user_key=str(user.pk)).channel


class TestPublish:
    def test_is_one_insert(self, ada: Any) -> None:
        for to in ("public:news", ada, SimpleLazyObject(lambda: ada)):
            with CaptureQueriesContext(connection) as captured:
                publish(to, "message", {"n": 1})
            [query] = captured.captured_queries
            assert query["sql"].startswith('INSERT INTO "taskbell_outbox"')

    @committing
    def test_is_one_insert_without_a_transaction_too(self) -> None:
        with CaptureQueriesContext(connection) as captured:
            publish("public:news", "message", {})
        assert [query["sql"].split()[0] for query in captured.captured_queries] in (
            ["INSERT"],
            ["BEGIN", "INSERT", "COMMIT"],
        )

    def test_addresses_a_channel_by_name_and_a_person_by_key(self, ada: Any) -> None:
        publish("public:news", "message", {"to": "all"})
        publish(SimpleLazyObject(lambda: ada), "photo.ready", [1, "\0", None])
        rows = Outbox.objects.order_by("id").values_list("kind", "channel", "user_key", "type", "payload", "failed_at")
        assert list(rows) == [
            ("event", "public:news", None, "message", '{"to":"all"}', None),
            ("event", None, str(ada.pk), "photo.ready", r'[1,"\u0000",null]', None),
        ]

    @pytest.mark.parametrize("count", [0, 1, BATCH_ROWS, BATCH_ROWS + 1])
    def test_many_go_together_in_their_order(self, count: int, ada: Any) -> None:
        with CaptureQueriesContext(connection) as captured:
            publish_many(("public:news" if n % 2 else ada, "message", n) for n in range(count))
        assert len(captured.captured_queries) == -(-count // BATCH_ROWS)
        assert payloads_waiting() == list(range(count))

    def test_many_are_checked_before_the_first_insert(self) -> None:
        with pytest.raises(InvalidPayload):
            publish_many([("public:news", "message", 1), ("public:news", "message", float("nan"))])
        assert payloads_waiting() == []

    @pytest.mark.parametrize(
        "to",
        [
            pytest.param(AnonymousUser, id="anonymous"),
            pytest.param(lambda: SimpleLazyObject(AnonymousUser), id="lazy anonymous"),
            pytest.param(lambda: User(username="new"), id="not saved"),
            pytest.param(lambda: Group.objects.create(name="staff"), id="another model"),
            pytest.param(lambda: User, id="the class"),
            pytest.param(lambda: User.objects.create(username="bob").pk, id="a key"),
            pytest.param(lambda: "ada", id="a user name"),
            pytest.param(lambda: User(pk="7" * 129), id="a long key"),
        ],
    )
    def test_refuses_whoever_is_no_saved_account(self, to: Callable[[], Any]) -> None:
        with pytest.raises(InvalidChannel):
            publish(to(), "message", {})
        assert payloads_waiting() == []

    @committing
    def test_a_refused_value_leaves_the_transaction_whole(self) -> None:
        with transaction.atomic():
            Group.objects.create(name="before")
            for bad in (("public:news", "error", {}), ("user:1", "message", {}), ("public:news", "message", {1, 2})):
                with pytest.raises(InvalidEvent):
                    publish(*bad)
            publish("public:news", "message", "\0\ud800")
            Group.objects.create(name="after")
        assert set(Group.objects.values_list("name", flat=True)) == {"before", "after"}
        assert payloads_waiting() == ["\0\ud800"]

    @committing
    def test_works_from_async_code(self, ada: Any) -> None:
        async_to_sync(apublish)(ada, "message", {"from": "a loop"})
        assert payloads_waiting() == [{"from": "a loop"}]


def payloads_waiting() -> list[Any]:
    return [json.loads(payload) for payload in Outbox.objects.order_by("id").values_list("payload", flat=True)]


class Undo(Exception):
    pass


@contextmanager
def rolled_back() -> Iterator[None]:
    try:
        with transaction.atomic():
            yield
            raise Undo
    except Undo:
        pass


@committing
class TestRollback:
    def test_what_is_rolled_back_is_never_seen(self, ticker: Ticker) -> None:
        with rolled_back():
            publish("public:news", "message", "gone")
        publish("public:news", "message", "stays")
        assert payloads(moved(ticker)) == ["stays"]

    def test_nor_is_a_savepoint(self, ticker: Ticker) -> None:
        with transaction.atomic():
            publish("public:news", "message", 1)
            with rolled_back():
                publish("public:news", "message", "gone")
            with transaction.atomic():
                publish("public:news", "message", 2)
        assert payloads(moved(ticker)) == [1, 2]

    def test_nor_is_what_another_connection_has_not_committed(self, ticker: Ticker) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("on SQLite the other connection would keep the ticker waiting")
        other = connections.create_connection(ALIAS)
        try:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute(
                    "insert into taskbell_outbox (kind, channel, type, payload, created_at) "
                    "values ('event', 'public:news', 'message', '1', now())"
                )
            publish("public:news", "message", 2)
            assert payloads(moved(ticker)) == [2]
            other.commit()
            assert payloads(moved(ticker)) == [1]
        finally:
            other.close()


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
        assert [row.channel for row in rows] == ["public:news", "public:facts", wait_for(ada), "public:news"]
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


class TestPeople:
    def test_a_person_is_given_an_address_of_their_own(self, ticker: Ticker, ada: Any) -> None:
        bob = User.objects.create(username="bob")
        publish_many([(ada, "message", 1), ("public:news", "message", 2), (bob, "message", 3), (ada, "message", 4)])
        rows = moved(ticker)
        assert payloads(rows) == [1, 2, 3, 4]
        assert [row.channel for row in rows] == [wait_for(ada), "public:news", wait_for(bob), wait_for(ada)]
        assert wait_for(ada) != wait_for(bob)
        assert str(ada.pk) not in wait_for(ada).split("-")

    def test_and_keeps_it(self, ticker: Ticker, ada: Any) -> None:
        publish(ada, "message", 1)
        publish(ada, "message", 2)
        first = moved(ticker)
        publish(ada, "message", 3)
        second = moved(ticker)
        assert {row.channel for row in [*first, *second]} == {wait_for(ada)}
        assert Recipient.objects.count() == 1

    def test_an_account_may_come_after_its_event(self, ticker: Ticker, clock: Clock) -> None:
        late = User(pk=4_000, username="late")
        publish(late, "message", 1)
        publish("public:news", "message", 2)
        assert payloads(moved(ticker)) == [2]
        late.save()
        assert ticker.tick() == Moved(), "looked again without pause"
        clock.now += KEEP_SECONDS
        assert payloads(moved(ticker)) == [1]
        assert ticker.dropped == 0

    @committing
    def test_it_is_looked_for_again_and_again(self, ticker: Ticker, clock: Clock) -> None:
        late = User(pk=4_000, username="late")
        publish(late, "message", 1)
        for _ in range(5):
            assert moved(ticker) == []
            clock.now += KEEP_SECONDS
        late.save()
        assert payloads(moved(ticker)) == [1]

    @committing
    def test_what_waits_for_an_account_comes_before_what_follows(self, ticker: Ticker) -> None:
        late = User(pk=4_000, username="late")
        publish(late, "message", 1)
        assert moved(ticker) == []
        late.save()
        publish(late, "message", 2)
        assert payloads(moved(ticker)) == [1, 2]

    def test_after_a_minute_it_is_dropped_and_counted(self, ticker: Ticker, clock: Clock) -> None:
        publish(User(pk=4_000, username="nobody"), "message", 1)
        assert moved(ticker) == []
        clock.now += ACCOUNT_SECONDS - 1
        assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped) == ([1], 0)
        clock.now += KEEP_SECONDS
        assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped) == ([], 1)

    @pytest.mark.parametrize("offset", [timedelta(days=-1), timedelta(hours=-1), timedelta(hours=1)])
    def test_the_minute_is_the_tickers_whatever_the_writers_clock_says(
        self, ticker: Ticker, clock: Clock, offset: timedelta
    ) -> None:
        nobody = User(pk=4_000, username="nobody")
        publish(nobody, "message", 1)
        Outbox.objects.update(created_at=timezone.now() + offset)
        for _ in range(2):
            assert moved(ticker) == []
            assert (payloads_waiting(), ticker.dropped) == ([1], 0)
            clock.now += ACCOUNT_SECONDS / 2
        assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped) == ([], 1)

    def test_what_comes_later_waits_its_own_minute(self, ticker: Ticker, clock: Clock) -> None:
        for number in range(3):
            publish(User(pk=4_000 + number, username="nobody"), "message", number)
            moved(ticker)
            clock.now += ACCOUNT_SECONDS / 2
        moved(ticker)
        assert (payloads_waiting(), ticker.dropped) == ([2], 2)

    def test_facts_wait_like_events_and_no_fold_sees_them_before(self, ticker: Ticker, clock: Clock) -> None:
        late = User(pk=4_000, username="late")
        with folding("proof") as fold:
            waiting = fact("proof", 1, channel=None, user_key=str(late.pk))
            other = fact("proof", 2)
            publish(late, "message", 3)
            assert payloads(moved(ticker)) == [2]
            clock.now += ACCOUNT_SECONDS / 2
            assert moved(ticker) == []
            assert fold.batches == [[other.id]]
            late.save()
            clock.now += KEEP_SECONDS
            assert payloads(moved(ticker)) == [1, 3]
            assert fold.batches == [[other.id], [waiting.id]]
        assert (payloads_waiting(), ticker.dropped) == ([], 0)

    def test_a_fact_of_nobody_is_dropped_after_a_minute_unseen(self, ticker: Ticker, clock: Clock) -> None:
        with folding("proof") as fold:
            fact("proof", 1, channel=None, user_key="4000")
            assert moved(ticker) == []
            clock.now += ACCOUNT_SECONDS
            assert moved(ticker) == []
        assert (payloads_waiting(), ticker.dropped, fold.batches) == ([], 1, [])

    @pytest.mark.parametrize("key", ["", "abc", "1e3", "-1", "0", str(2**63), str(10**30), "1.5", "None", "7" * 128])
    def test_a_key_that_no_account_has_stops_nobody(self, ticker: Ticker, clock: Clock, key: str, ada: Any) -> None:
        Outbox.objects.create(kind="event", user_key=key, type="message", payload="1")
        publish(ada, "message", 2)
        assert payloads(moved(ticker)) == [2]
        clock.now += ACCOUNT_SECONDS
        publish(ada, "message", 3)
        assert payloads(moved(ticker)) == [3]
        assert ticker.dropped == 1


def _age(by: timedelta) -> None:
    for row in Outbox.objects.all():
        row.created_at -= by
        row.save()


class TestHead:
    def test_is_created_once(self) -> None:
        create_head(ALIAS)
        first = read_head(ALIAS)
        create_head(ALIAS)
        assert read_head(ALIAS) == first
        assert first is not None
        assert (first.seq, first.floor) == (0, 1)

    def test_is_created_above_what_was_numbered_and_under_a_new_name(self, ticker: Ticker) -> None:
        publish_many(("public:news", "message", n) for n in range(3))
        place = moved(ticker)[-1]
        before = read_head(ALIAS)
        LogHead.objects.all().delete()
        publish("public:news", "message", 4)
        assert ticker.tick() == NoHead()
        create_head(ALIAS)
        after = read_head(ALIAS)
        assert before is not None
        assert after is not None
        assert (after.seq, after.floor) == (3, 3)
        assert after.log_id != before.log_id
        assert [row.seq for row in moved(ticker)] == [4]
        assert _verdict(Cursor(before.log_id, 3, place.nonce)) == "rewritten"

    def test_a_new_epoch_is_a_new_name_at_the_same_number(self, ticker: Ticker) -> None:
        publish("public:news", "message", 1)
        moved(ticker)
        place = place_of_head(ALIAS)
        name = new_epoch(ALIAS)
        assert place is not None
        assert read_head(ALIAS).log_id == name != place.log_id
        assert _verdict(place) == "rewritten"
        publish("public:news", "message", 2)
        assert [row.seq for row in moved(ticker)] == [2]

    def test_a_new_epoch_creates_a_missing_head(self) -> None:
        assert new_epoch(ALIAS) == read_head(ALIAS).log_id


def _verdict(place: Cursor) -> str | list[int] | None:
    page = read_after(place, ALIAS)
    if isinstance(page, Lost):
        return page.reason
    return None if page is None else [row.seq for row in page.rows]


class TestReadAfter:
    @pytest.fixture
    def cursors(self, ticker: Ticker) -> list[Cursor]:
        """The places 0 to 5 of a log of five rows, each of another tick."""
        places = [place_of_head(ALIAS)]
        for n in range(5):
            publish("public:news", "message", n)
            moved(ticker)
            places.append(place_of_head(ALIAS))
        return [place for place in places if place]

    def test_gives_what_comes_after_with_the_head(self, cursors: list[Cursor]) -> None:
        for place in cursors:
            page = read_after(place, ALIAS)
            assert isinstance(page, Page)
            assert [row.seq for row in page.rows] == list(range(place.seq + 1, 6))
            assert (page.head.seq, page.head.floor, page.head.log_id) == (5, 1, place.log_id)

    def test_gives_so_much_at_a_time(self, cursors: list[Cursor]) -> None:
        page = read_after(cursors[1], ALIAS, limit=2)
        assert isinstance(page, Page)
        assert [row.seq for row in page.rows] == [2, 3]

    def test_knows_no_answer_without_a_head(self, cursors: list[Cursor]) -> None:
        LogHead.objects.all().delete()
        assert read_after(cursors[3], ALIAS) is None
        assert place_of_head(ALIAS) is None

    @pytest.mark.parametrize(
        "change",
        [
            pytest.param({"log_id": "another"}, id="another log"),
            pytest.param({"nonce": "another"}, id="another nonce"),
            pytest.param({"seq": 4}, id="another number"),
            pytest.param({"seq": 6}, id="above the head"),
            pytest.param({"seq": 2**63 - 1}, id="far above"),
            pytest.param({"seq": 0}, id="at zero with a nonce"),
        ],
    )
    def test_a_place_of_no_history_is_rewritten(self, cursors: list[Cursor], change: dict[str, Any]) -> None:
        place = cursors[3]
        fields = {"log_id": place.log_id, "seq": place.seq, "nonce": place.nonce} | change
        assert _verdict(Cursor(**fields)) == "rewritten"

    def test_a_head_below_the_place_is_rewritten(self, cursors: list[Cursor]) -> None:
        Log.objects.filter(seq__gt=3).delete()
        LogHead.objects.update(seq=3)
        assert _verdict(cursors[5]) == "rewritten"
        assert _verdict(cursors[3]) == []

    def test_the_same_number_of_another_tick_is_rewritten(self, cursors: list[Cursor], ticker: Ticker) -> None:
        Log.objects.filter(seq__gt=3).delete()
        LogHead.objects.update(seq=3)
        publish_many(("public:news", "message", n) for n in range(3))
        assert [row.seq for row in moved(ticker)] == [4, 5, 6]
        assert _verdict(cursors[4]) == _verdict(cursors[5]) == "rewritten"
        assert _verdict(cursors[3]) == [4, 5, 6]

    def test_a_missing_row_is_rewritten(self, cursors: list[Cursor]) -> None:
        Log.objects.filter(seq=3).delete()
        assert _verdict(cursors[3]) == "rewritten"

    def test_a_place_below_the_floor_is_expired(self, cursors: list[Cursor]) -> None:
        LogHead.objects.update(floor=3)
        verdicts = [_verdict(place) for place in cursors]
        assert verdicts == ["expired", "expired", "expired", [4, 5], [5], []]

    def test_zero_of_another_log_is_rewritten(self, cursors: list[Cursor]) -> None:
        assert _verdict(Cursor("another", 0, NONCE_AT_ZERO)) == "rewritten"

    def test_the_tail_is_the_newest_that_fit(self, cursors: list[Cursor]) -> None:
        assert [row.seq for row in tail(ALIAS, 1_000_000)] == [1, 2, 3, 4, 5]
        assert tail(ALIAS, 0) == []


def test_times_are_the_ticks_not_the_writers(ticker: Ticker) -> None:
    publish("public:news", "message", 1)
    _age(timedelta(days=2))
    before = timezone.now() - timedelta(seconds=5)
    moved(ticker)
    assert Log.objects.get().sequenced_at > before
