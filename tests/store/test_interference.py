"""A project's transactions stay its own: what publishing holds, and for whom anybody waits. PostgreSQL only."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connections, transaction

from taskbell import publish
from taskbell.models import Log, Outbox, Recipient
from taskbell.store.connection import adopt
from taskbell.store.head import create_head
from taskbell.store.tick import Moved, Ticker
from tests.servers.project import Project

ALIAS = "default"
ROUNDS = 200
pytestmark = pytest.mark.proof


@pytest.fixture(autouse=True)
def people(project: Callable[[str], Project]) -> list[Any]:
    """Two for each round, so that each round is the first for both."""
    project("postgres")
    create_head(ALIAS)
    User = get_user_model()  # noqa: N806
    return User.objects.bulk_create([User(username=f"person-{n}") for n in range(2 * ROUNDS)])


@pytest.fixture
def apart() -> Iterator[Callable[..., Future[Any]]]:
    """Call a function in a thread with a connection of its own that waits for no lock."""

    def call(function: Callable[..., Any], *args: Any) -> Any:
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("set lock_timeout = '100ms'")
        try:
            return function(*args)
        finally:
            connections[ALIAS].close()

    with ThreadPoolExecutor(4) as threads:
        yield lambda function, *args: threads.submit(call, function, *args)


def locks() -> set[tuple[str, str]]:
    """Return which tables this session holds, and how."""
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(
            "select relation::regclass::text, mode from pg_locks "
            "where pid = pg_backend_pid() and locktype = 'relation' and relation::regclass::text like 'taskbell%'"
        )
        return set(cursor.fetchall())


def test_publishing_holds_nothing_but_its_own_row(people: list[Any]) -> None:
    with transaction.atomic():
        publish(people[0], "message", 1)
        publish("public:news", "message", 2)
        assert {mode for _, mode in locks()} == {"RowExclusiveLock"}
        assert all(table.startswith("taskbell_outbox") for table, _ in locks())
        with connections[ALIAS].cursor() as cursor:
            cursor.execute(
                "select locktype from pg_locks where pid = pg_backend_pid() "
                "and locktype not in ('relation', 'virtualxid', 'transactionid')"
            )
            assert cursor.fetchall() == []


def test_nobody_waits_for_an_open_transaction(people: list[Any], apart: Callable[..., Future[Any]]) -> None:
    """Neither another writer to the same person and channel, nor the tick, nor the reader of what it moved."""

    def same(n: int) -> None:
        with transaction.atomic():
            publish(people[0], "message", n)
            publish("public:news", "message", n)

    def tick() -> list[str]:
        answer = Ticker(ALIAS).tick()
        assert isinstance(answer, Moved)
        return [row.payload for row in answer.rows]

    with transaction.atomic():
        same(1)
        for n in (2, 3):
            apart(same, n).result(timeout=10)
            assert apart(tick).result(timeout=10) == [str(n)] * 2
        # The recipient was made by now: to insert it, as a writer never does, would not have been possible twice.
        same(4)
    assert [row.payload for row in _moved(Ticker(ALIAS))] == ["1", "1", "4", "4"]
    assert Recipient.objects.count() == 1


def _moved(ticker: Ticker) -> list[Any]:
    answer = ticker.tick()
    assert isinstance(answer, Moved)
    return list(answer.rows)


def test_two_tasks_in_opposite_order_do_not_deadlock(people: list[Any], apart: Callable[..., Future[Any]]) -> None:
    """Both hold their first event when they publish their second; a ticker creates both recipients meanwhile."""
    together = threading.Barrier(2, timeout=30)

    def task(mine: int) -> None:
        for number in range(ROUNDS):
            pair = people[2 * number : 2 * number + 2]
            first, second = pair if mine else reversed(pair)
            with transaction.atomic():
                publish(first, "message", [number, mine])
                publish(f"public:{first.pk}", "message", [number, mine])
                together.wait()
                publish(second, "message", [number, mine])
                publish(f"public:{second.pk}", "message", [number, mine])

    with ticking() as ticker:
        tasks = [apart(task, mine) for mine in range(2)]
        for each in tasks:
            each.result(timeout=60)
        ticker.wait_until_empty()
    assert Log.objects.count() == 8 * ROUNDS
    assert Recipient.objects.count() == 2 * ROUNDS
    channels = [channel for channel in Log.objects.values_list("channel", flat=True) if channel]
    assert {channels.count(channel) for channel in set(channels)} == {2}


class Ticking(threading.Thread):
    """Ticks as fast as it can."""

    def __init__(self) -> None:
        super().__init__()
        self.ending = threading.Event()
        self.error: BaseException | None = None

    def run(self) -> None:
        adopt(ALIAS)
        ticker = Ticker(ALIAS)
        try:
            while not self.ending.is_set():
                ticker.tick()
        except BaseException as error:  # noqa: BLE001  told to the test
            self.error = error
        finally:
            connections[ALIAS].close()

    def wait_until_empty(self) -> None:
        while Outbox.objects.exists():
            assert self.is_alive(), self.error


@contextmanager
def ticking() -> Iterator[Ticking]:
    ticker = Ticking()
    ticker.start()
    try:
        yield ticker
    finally:
        ticker.ending.set()
        ticker.join()
    assert ticker.error is None
