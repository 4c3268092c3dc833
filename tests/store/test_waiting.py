"""Reading above a low-water id, step by step, with real sessions that hold ids back. PostgreSQL only."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from taskbell.models import Outbox
from taskbell.store import waiting
from taskbell.store.waiting import FULL_SCAN_SECONDS, AboveLowWater, FromTheStart, waiting_on
from tests.servers.postgres import Postgres
from tests.servers.project import Project, migrate

INSERT = (
    "insert into taskbell_outbox (kind, channel, type, payload, created_at) values ('event', 'a:b', 'm', '1', now())"
)


class Session(psycopg.Connection):
    """Another writer, in a transaction until told otherwise."""

    def insert(self) -> int:
        row = self.execute(f"{INSERT} returning id").fetchone()
        assert row
        return row[0]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def address(project: Callable[[str], Project]) -> str:
    return project("postgres").address


@pytest.fixture
def session(address: str) -> Iterator[Callable[[], Session]]:
    with ExitStack() as stack:
        # Closing, not leaving: a session that is left commits.
        yield lambda: stack.enter_context(closing(Session.connect(address)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def low(address: str, clock: Clock) -> AboveLowWater:
    return AboveLowWater("default", clock)


def publish(count: int = 1) -> list[int]:
    rows = [Outbox(kind="event", channel="a:b", type="m", payload="1") for _ in range(count)]
    return [row.id for row in Outbox.objects.bulk_create(rows)]


def take(low: AboveLowWater, limit: int = 1_000) -> list[int]:
    """Read, and move what was read, as a tick does."""
    ids, _ = low.read(limit)
    Outbox.objects.filter(id__in=ids).delete()
    return ids


def settle(low: AboveLowWater) -> None:
    publish()
    for _ in range(2):
        take(low)
    assert low.settled
    assert low.low > 0


def test_each_database_is_read_in_its_way(project: Callable[[str], Project]) -> None:
    project("sqlite")
    assert isinstance(waiting_on("default"), FromTheStart)
    project("postgres")
    assert isinstance(waiting_on("default"), AboveLowWater)


def test_it_starts_from_the_lowest_id(low: AboveLowWater) -> None:
    ids = publish(3)
    assert low.read(1_000) == (ids, True)
    assert low.read(2) == (ids[:2], True)


def test_a_read_that_was_cut_short_settles_nothing(low: AboveLowWater, session: Callable[[], Session]) -> None:
    """Late rows may fill a whole batch, before it comes to what was seen first."""
    late = session()
    below = [late.insert() for _ in range(8)]
    first = publish()
    assert low.read(3) == (first, True)
    late.commit()
    assert [take(low, 3) for _ in range(3)] == [below[:3], below[3:6], [*below[6:], *first]]
    assert take(low, 3) == []
    assert low.settled


def test_it_knows_which_are_plain_events(low: AboveLowWater) -> None:
    publish()
    Outbox.objects.create(kind="event", user_key="7", type="m", payload="1")
    assert low.read(1_000)[1] is False


def test_what_was_passed_is_not_looked_at_again(low: AboveLowWater) -> None:
    settle(low)
    for _ in range(3):
        ids = publish(3)
        assert take(low) == ids
        assert low.low == ids[-1]
        assert take(low) == []
    assert not low.holes


def test_a_late_commit_below_the_low_water_is_read(low: AboveLowWater, session: Callable[[], Session]) -> None:
    settle(low)
    late = session()
    below = late.insert()
    assert take(low) == []
    above = publish()
    assert take(low) == above
    assert set(low.holes) == {below}
    assert take(low) == []
    late.commit()
    assert take(low) == [below]
    assert not low.holes


def test_it_comes_before_what_was_published_after_it(low: AboveLowWater, session: Callable[[], Session]) -> None:
    settle(low)
    late = session()
    below = late.insert()
    publish()
    take(low)
    late.commit()
    newer = publish()
    assert take(low) == [below, *newer]


def test_a_hole_stays_until_its_transaction_ended(low: AboveLowWater, session: Callable[[], Session]) -> None:
    settle(low)
    late, later = session(), session()
    holes = {late.insert(), later.insert()}
    publish()
    for _ in range(5):
        take(low)
        assert set(low.holes) == holes
    late.rollback()
    # Asked once more who writes, then once more what there is.
    take(low)
    take(low)
    assert set(low.holes) == holes, "the other one may have taken either"
    later.rollback()
    take(low)
    take(low)
    assert not low.holes


def test_a_transaction_that_began_later_holds_no_older_hole(low: AboveLowWater, session: Callable[[], Session]) -> None:
    settle(low)
    late = session()
    hole = late.insert()
    publish()
    take(low)
    newer = session()
    held = newer.insert()
    publish()
    take(low)
    assert set(low.holes) == {hole, held}
    late.rollback()
    take(low)
    take(low)
    assert set(low.holes) == {held}


def test_an_id_taken_before_its_transaction_has_a_number(
    low: AboveLowWater, session: Callable[[], Session], address: str
) -> None:
    """Between the two a snapshot says that everybody has ended: such a row came last, or seconds late."""
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(
            "create function hold() returns trigger language plpgsql as $$ "
            "begin if new.type = 'held' then perform pg_advisory_xact_lock(7); end if; return new; end $$"
        )
        admin.execute("create trigger hold before insert on taskbell_outbox for each row execute function hold()")
        settle(low)
        admin.execute("select pg_advisory_lock(7)")
        late = session()
        late.autocommit = True
        pid = late.info.backend_pid
        late.pgconn.send_query(INSERT.replace("'m'", "'held'").encode())
        while admin.execute("select wait_event from pg_stat_activity where pid = %s", [pid]).fetchone() != (
            "advisory",
        ):
            pass
        [number] = admin.execute("select backend_xid from pg_stat_activity where pid = %s", [pid]).fetchone() or ()
        assert number is None, "this session has its number already, so nothing is tested"
        above = publish()
        for _ in range(5):
            take(low)
        assert set(low.holes) == {above[0] - 1}
        admin.execute("select pg_advisory_unlock(7)")
        late.pgconn.get_result()
        assert take(low) == [above[0] - 1]


def test_ids_that_nobody_took_are_forgotten_at_once(low: AboveLowWater, session: Callable[[], Session]) -> None:
    settle(low)
    gone = session()
    gone.insert()
    gone.rollback()
    publish()
    take(low)
    take(low)
    assert not low.holes


def test_too_many_holes_mean_a_new_start(low: AboveLowWater, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_HOLES", 10)
    settle(low)
    with connections["default"].cursor() as cursor:
        cursor.execute("select nextval(pg_get_serial_sequence('taskbell_outbox', 'id')) from generate_series(1, 11)")
    ids = publish()
    assert take(low) == ids
    assert (low.low, low.settled) == (0, False)
    settle(low)
    assert low.low > ids[0]


def test_holes_are_counted_together(
    low: AboveLowWater, session: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_HOLES", 10)
    settle(low)
    keeper = session()
    keeper.insert()
    for _ in range(12):
        with connections["default"].cursor() as cursor:
            cursor.execute("select nextval(pg_get_serial_sequence('taskbell_outbox', 'id'))")
        publish()
        take(low)
        assert len(low.holes) <= 10
    assert not low.settled
    late = session()
    below = late.insert()
    publish()
    take(low)
    late.commit()
    assert below in take(low), "from the start everything is read"


def test_kept_rows_come_again_as_long_as_they_are_there(low: AboveLowWater) -> None:
    settle(low)
    kept = publish()
    assert low.read(1_000) == (kept, True)
    for _ in range(3):
        new = publish()
        assert low.read(1_000, kept)[0] == kept + new
        Outbox.objects.filter(id__in=new).delete()
    assert low.settled
    Outbox.objects.all().delete()
    assert low.read(1_000, kept)[0] == []


def test_ids_that_begin_anew_are_found_by_the_full_scan(low: AboveLowWater, clock: Clock) -> None:
    settle(low)
    with connections["default"].cursor() as cursor:
        cursor.execute("truncate taskbell_outbox restart identity")
    first = publish()
    assert first == [1]
    assert take(low) == []
    clock.now += FULL_SCAN_SECONDS
    assert take(low) == first
    assert take(low) == []
    second = publish(2)
    assert take(low) == second


def test_a_long_transaction_stops_nobody(low: AboveLowWater, session: Callable[[], Session]) -> None:
    """One that wrote elsewhere, one that only reads, and one that published: ids go on, before and after settling."""
    elsewhere, reading, publishing = session(), session(), session()
    elsewhere.execute("insert into django_session values ('k', 'v', now())")
    reading.execute("set transaction isolation level repeatable read")
    reading.execute("select count(*) from taskbell_outbox")
    assert [take(low) for _ in range(3)] == [[], [], []]
    settle(low)
    held = publishing.insert()
    for _ in range(20):
        ids = publish(2)
        assert take(low) == ids
    assert low.settled
    assert set(low.holes) == {held}
    low.restart()
    for _ in range(20):
        ids = publish(2)
        assert take(low) == ids


@pytest.fixture
def preparing() -> Iterator[Postgres]:
    server = Postgres(max_prepared_transactions="10").start()
    yield server
    server.remove()


@pytest.mark.proof
def test_transactions_left_behind_stop_nobody(
    postgres: Postgres, preparing: Postgres, django_db_blocker: DjangoDbBlocker
) -> None:
    """Prepared ones and open ones, here and in another database. The shared server is asked for first: it may skip."""
    address, other = preparing.fresh(), preparing.fresh()
    migrate(address)
    project = Project(Path(preparing.folder), address)
    with django_db_blocker.unblock(), ExitStack() as stack:
        project.attach()
        stack.callback(project.remove)
        low = AboveLowWater("default")
        open_there = stack.enter_context(closing(Session.connect(other)))
        open_there.execute("create table stone (weight int)")
        prepared_there = stack.enter_context(closing(Session.connect(other)))
        prepared_there.execute("create table wood (weight int)")
        prepared_there.execute("prepare transaction 'there'")
        settle(low)
        prepared = stack.enter_context(closing(Session.connect(address)))
        held = prepared.insert()
        prepared.execute("prepare transaction 'here'")
        for _ in range(20):
            ids = publish(2)
            assert take(low) == ids
        assert set(low.holes) == {held}
        with psycopg.connect(address, autocommit=True) as admin:
            admin.execute("commit prepared 'here'")
            assert take(low) == [held]
            assert low.settled
            # One that is seen open, and prepared only then, changes its name in pg_locks.
            renamed = prepared.insert()
            publish()
            take(low)
            prepared.execute("prepare transaction 'renamed'")
            for _ in range(5):
                take(low)
            assert set(low.holes) == {renamed}
            admin.execute("commit prepared 'renamed'")
            assert take(low) == [renamed]
            take(low)
        assert low.settled
        assert not low.holes
