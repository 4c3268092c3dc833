"""What every wakeup promises, on real servers and files. Rings are hints, so nothing here is about what they say."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread, Timer
from time import monotonic

import pytest
from django.db import connections
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from taskbell.exceptions import WakeupUnavailable
from taskbell.wakeups import configured, ear
from tests.databases import sqlite
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey
from tests.wakeups.sides import (
    ALIAS,
    QUIET,
    SOON,
    PollSide,
    PostgresSide,
    RedisSide,
    ServerSide,
    Side,
    SQLiteSide,
    database,
    eventually,
    settle,
    wakeup,
)

ALL = ["poll", "sqlite", "postgres", "redis"]
HEARING = ALL[1:]
SERVERS = ALL[2:]
# A time-out and what two busy cores may add to it; far below what any server's own time-outs would.
LATE = 0.25


@pytest.fixture(scope="module")
def own_postgres(postgres: Postgres) -> Iterator[Postgres]:
    """A PostgreSQL that may be stopped. The shared one is asked for first: it knows when to skip."""
    server = Postgres().start()
    yield server
    server.remove()


@pytest.fixture
def side(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[Side]:
    with django_db_blocker.unblock():
        made = _sides(request, request.param, tmp_path)
        yield next(made)
        next(made, None)


def _sides(request: pytest.FixtureRequest, name: str, folder: Path) -> Iterator[Side]:
    if name == "postgres":
        server: Postgres = request.getfixturevalue("own_postgres")
        with database(server.create_database()), wakeup("auto"):
            yield from _closing(PostgresSide(server))
    elif name == "redis":
        valkey: Valkey = request.getfixturevalue("valkey")
        with database(sqlite(str(folder / "file"))), wakeup(valkey.url):
            yield from _closing(RedisSide(valkey))
    else:
        path = folder / "file"
        with database(sqlite(str(path))), wakeup("auto" if name == "sqlite" else "poll"):
            yield from _closing(SQLiteSide(path) if name == "sqlite" else PollSide())


def _closing(side: Side) -> Iterator[Side]:
    try:
        yield side
    finally:
        side.close()


def on(names: list[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("side", names, indirect=True)


@on(ALL)
@pytest.mark.parametrize("timeout", [0.0, 0.002, 0.2])
def test_waits_no_longer_than_asked(side: Side, timeout: float) -> None:
    listener = side.listen()
    if side.hears:
        settle(listener)
    began = monotonic()
    assert listener.wait(timeout) is False
    assert timeout <= monotonic() - began < timeout + LATE


@on(HEARING)
def test_hears_a_ring_that_came_before_the_wait(side: Side) -> None:
    listener = side.listening()
    side.ring()
    assert listener.wait(SOON)
    assert not listener.wait(QUIET)


@on(HEARING)
def test_a_ring_ends_the_wait(side: Side) -> None:
    listener = side.listening()
    began = monotonic()
    ringing = Timer(0.05, side.ring)
    ringing.start()
    assert listener.wait(SOON)
    assert monotonic() - began < SOON / 2
    ringing.join()


@on(HEARING)
def test_hears_a_ring_after_a_wait_in_vain(side: Side) -> None:
    listener = side.listening()
    for _ in range(3):
        assert not listener.wait(0.01)
        side.ring()
        assert listener.wait(SOON)


@on(HEARING)
def test_everyone_who_listens_hears(side: Side) -> None:
    listeners = [side.listening() for _ in range(2)]
    side.ring()
    assert all(listener.wait(SOON) for listener in listeners)


@on(HEARING)
def test_many_rings_are_few_looks(side: Side) -> None:
    listener = side.listening()
    for _ in range(50):
        side.ring()
    looks = 0
    while listener.wait(QUIET):
        looks += 1
    assert 0 < looks < 50


@on(ALL)
def test_ringing_into_the_void_is_no_error(side: Side) -> None:
    side.ring()
    side.ring()


@on(ALL)
def test_close_ends_a_wait(side: Side) -> None:
    listener = side.listen()
    if side.hears:
        settle(listener)
    closing = Timer(0.05, listener.close)
    closing.start()
    began = monotonic()
    for _ in range(3):
        listener.wait(SOON)
    assert monotonic() - began < SOON / 2
    closing.join()


@on(["sqlite"])
def test_own_commits_do_not_ring(side: Side) -> None:
    listener = side.listening()
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("insert into rings values (2)")
    assert not listener.wait(QUIET)


@on(["sqlite"])
def test_a_new_connection_may_have_missed_something(side: Side) -> None:
    listener = side.listening()
    connections[ALIAS].close()
    settle(listener)


@on(SERVERS)
def test_is_deaf_until_its_own_probe_is_heard(side: ServerSide) -> None:
    with side.overhear() as next_payload:
        listener = side.listen()
        probe = next_payload()
        settle(listener)
    assert len(probe) == 32
    assert listener.reason == ""


@on(SERVERS)
def test_forged_and_garbled_rings_only_cost_a_look(side: ServerSide) -> None:
    listener = side.listening()
    for payload in side.garbage:
        side.forge(payload)
        settle(listener)
    side.ring()
    assert listener.wait(SOON)


@on(SERVERS)
def test_a_replayed_probe_only_costs_a_look(side: ServerSide) -> None:
    with side.overhear() as next_payload:
        listener = side.listen()
        probe = next_payload()
        settle(listener)
    side.forge(probe)
    settle(listener)
    side.ring()
    assert listener.wait(SOON)


@on(["redis"])
def test_does_not_hear_another_site_on_the_same_server(side: ServerSide) -> None:
    listener = side.listening()
    with override_settings(SECRET_KEY="another site's"):
        other = configured(ALIAS)
    other.ring()
    other.close()
    assert not listener.wait(QUIET)


@on(["redis"])
def test_losing_everything_stored_loses_nothing(side: RedisSide) -> None:
    listener = side.listening()
    side.flush()
    assert not listener.wait(QUIET)
    side.ring()
    assert listener.wait(SOON)


@on(SERVERS)
def test_listens_again_when_its_connection_was_ended(side: ServerSide) -> None:
    listener = side.listening()
    for _ in range(2):
        side.cut()
        assert listener.wait(SOON)
        assert not listener.wait(QUIET)
    side.ring()
    assert listener.wait(SOON)


@on(SERVERS)
def test_a_server_that_is_gone_costs_only_the_wait(side: ServerSide) -> None:
    listener = side.listening()
    side.stop()
    assert eventually(lambda: listener.deaf)
    for _ in range(5):
        began = monotonic()
        assert listener.wait(0.1) is False
        assert 0.1 <= monotonic() - began < 0.1 + LATE
    side.start()
    settle(listener)
    side.ring()
    assert listener.wait(SOON)


@on(SERVERS)
def test_a_server_may_come_later_than_its_listener(side: ServerSide) -> None:
    side.stop()
    listener = side.listen()
    assert listener.wait(QUIET) is False
    assert listener.deaf
    side.start()
    settle(listener)
    side.ring()
    assert listener.wait(SOON)


@on(SERVERS)
def test_a_connection_that_died_without_a_word_is_noticed(side: ServerSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ear, "SILENCE", 0.5)
    listener = side.listening()
    side.freeze()
    began = monotonic()
    assert eventually(lambda: listener.deaf)
    assert monotonic() - began < SOON / 2
    began = monotonic()
    assert not listener.wait(0.05)
    assert monotonic() - began < 0.05 + LATE
    side.thaw()
    settle(listener)
    side.ring()
    assert listener.wait(SOON)


@on(SERVERS)
def test_a_ring_that_a_frozen_server_took_is_given_up(side: ServerSide) -> None:
    side.ring()
    side.freeze()
    began = monotonic()
    with pytest.raises(WakeupUnavailable):
        side.ring()
    assert monotonic() - began < SOON / 2
    side.thaw()
    side.ring()


@on(SERVERS)
def test_rings_at_once_after_the_server_was_started_again(side: ServerSide) -> None:
    side.ring()
    side.stop()
    with pytest.raises(WakeupUnavailable):
        side.ring()
    side.start()
    side.ring()
    side.stop()
    side.start()
    # Its connection died meanwhile, and nobody told it.
    side.ring()


@on(SERVERS)
def test_closing_leaves_no_connection(side: ServerSide) -> None:
    listener = side.listening()
    side.ring()
    assert eventually(lambda: side.connected() == 2)  # once those of the tests before are gone
    listener.close()
    side.wakeup.close()
    assert eventually(lambda: side.connected() == 0)


@on(SERVERS)
def test_listeners_come_and_go(side: ServerSide) -> None:
    listeners = [side.listen() for _ in range(5)]
    closing = [Thread(target=listener.close) for listener in listeners]
    for thread in closing:
        thread.start()
    for thread in closing:
        thread.join()
    assert eventually(lambda: side.connected() == 0)
