"""A storm is read by pages of the log: so many statements for what was missed, however many streams missed it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db.backends.signals import connection_created

from bench.queries import count_queries, queries_of_pool
from taskbell.gateway import replay as module
from taskbell.gateway.hub import Hub
from taskbell.gateway.pool import Pool
from taskbell.gateway.replay import CHANNELS_A_ROUND, CROWD, Replay
from taskbell.gateway.window import Window
from taskbell.ground.cursor import NONCE_AT_ZERO, Cursor
from taskbell.models import Log, LogHead
from taskbell.store.head import create_head
from taskbell.store.log import place_of_head
from taskbell.store.missed import PAGE_MARKS
from tests.gateway.paper import PaperStream
from tests.gateway.real import DATABASES, Make

#: What is read of the cursors of up to CHANNELS_A_ROUND streams, and of one page of what they missed.
FOR_CURSORS, FOR_A_PAGE = 3, 3
STORMS = [(1, 100), (300, 100), (1_000, 1), (CHANNELS_A_ROUND, 2)]


@contextmanager
def counting(file: Path) -> Iterator[None]:
    before = list(connection_created.receivers)
    count_queries(file)
    try:
        yield
    finally:
        connection_created.receivers = before
        connection_created.sender_receivers_cache.clear()


def publish_to(streams: int, each: int) -> Cursor:
    """Number so many events for each stream; return the place before them."""
    Log.objects.all().delete()
    LogHead.objects.all().delete()
    create_head("default")
    rows = range(1, streams * each + 1)
    Log.objects.bulk_create(
        Log(seq=seq, nonce="n", channel=f"public:{seq % streams}", type="m", payload=str(seq)) for seq in rows
    )
    LogHead.objects.update(seq=rows[-1])
    return Cursor(LogHead.objects.get().log_id, 0, NONCE_AT_ZERO)


@contextmanager
def gateway(position: Cursor) -> Iterator[tuple[Hub, Replay]]:
    pool = Pool()
    replay = Replay(pool, "default")
    replay.hub = hub = Hub(Window(1), replay.ask, lambda stream: None)
    hub.start_at(position, [])
    yield hub, replay
    replay.stop()
    pool.close()


async def come_back(streams: list[PaperStream], cursor: Cursor, position: Cursor) -> None:
    """Let them all join in one turn of the loop, and wait until they are live."""
    with gateway(position) as (hub, _):
        for stream in streams:
            stream.hub = hub
            hub.join(stream, cursor)
        await all_live(hub)


async def all_live(hub: Hub) -> None:
    async with asyncio.timeout(60):
        while hub.behind:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


async def rounds_while_a_crowd_comes(cursor: Cursor, position: Cursor) -> list[int]:
    """Let more come than a crowd again and again, and return how many rounds were made until each of them."""
    rounds = []
    with gateway(position) as (hub, replay):
        for _ in range(30):
            for stream in [PaperStream("public:0") for _ in range(CROWD + 1)]:
                stream.hub = hub
                hub.join(stream, cursor)
            await asyncio.sleep(0.01)
            rounds.append(replay.rounds)
        await all_live(hub)
        for stream in hub.streams:
            assert [event.json for event in stream.events if event.type == "m"] == [1]  # type: ignore[attr-defined]
    return rounds


@DATABASES
def test_queries_are_bounded_by_pages_and_not_by_streams(project: Make, database: str, tmp_path: Path) -> None:
    project(database)
    for count, each in STORMS:
        cursor, position = publish_to(count, each), place_of_head("default")
        assert position is not None
        streams = [PaperStream(f"public:{number}") for number in range(count)]
        with counting(tmp_path / "queries"):
            asyncio.run(come_back(streams, cursor, position))
        for number, stream in enumerate(streams):
            told = [event.json for event in stream.events if event.type == "m"]
            assert told == [seq for seq in range(1, count * each + 1) if seq % count == number], "all, once, in order"
        pages = -(-count * each // PAGE_MARKS)
        assert queries_of_pool(tmp_path / "queries") == FOR_CURSORS + FOR_A_PAGE * pages


def test_a_crowd_is_let_in_before_anything_is_read_for_it(project: Make) -> None:
    project("sqlite")
    cursor, position = publish_to(1, 1), place_of_head("default")
    assert position is not None
    assert not any(asyncio.run(rounds_while_a_crowd_comes(cursor, position)))


def test_a_crowd_without_end_is_not_waited_for(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CROWD_SECONDS", 0.1)
    project("sqlite")
    cursor, position = publish_to(1, 1), place_of_head("default")
    assert position is not None
    assert asyncio.run(rounds_while_a_crowd_comes(cursor, position))[-1]


def test_slow_readers_are_no_crowd_and_leave_the_patience_for_one(project: Make) -> None:
    """They come back for piece after piece, for as long as they read."""
    project("sqlite")
    _, position = publish_to(1, 1), place_of_head("default")
    assert position is not None

    async def wait(streams: list[PaperStream], patience: float) -> float:
        with gateway(position) as (_, replay):
            replay._asking = dict.fromkeys(streams, 1)
            return await replay._let_crowd_in(patience)

    slow = [PaperStream("public:0") for _ in range(CROWD + 1)]
    assert asyncio.run(wait(slow, module.CROWD_SECONDS)) == module.CROWD_SECONDS
    assert asyncio.run(wait(slow, 0.0)) == module.CROWD_SECONDS, "a storm that is over is forgotten"
