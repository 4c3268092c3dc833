"""Publishing, on every database: one INSERT, checked before, and gone with its transaction."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, Group
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from taskbell import apublish, publish, publish_many
from taskbell.exceptions import InvalidChannel, InvalidEvent, InvalidPayload
from taskbell.models import Outbox
from taskbell.store.outbox import BATCH_ROWS
from taskbell.store.tick import Ticker
from tests.contract.ticking import ALIAS, User, committing, moved, payloads, payloads_waiting

pytestmark = [pytest.mark.contract, pytest.mark.django_db]


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
