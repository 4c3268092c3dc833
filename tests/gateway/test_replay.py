"""A storm is read by pages of the log: so many statements for what was missed, however many streams missed it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db.backends.signals import connection_created

from bench.queries import count_queries, queries_of_pool
from taskbell.gateway.hub import Hub
from taskbell.gateway.pool import Pool
from taskbell.gateway.replay import CHANNELS_A_ROUND, Replay
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


async def come_back(streams: list[PaperStream], cursor: Cursor, position: Cursor) -> None:
    """Let them all join in one turn of the loop, and wait until they are live."""
    pool = Pool()
    replay = Replay(pool, "default")
    replay.hub = hub = Hub(Window(1), replay.ask, lambda stream: None)
    hub.start_at(position, [])
    for stream in streams:
        stream.hub = hub
        hub.join(stream, cursor)
    async with asyncio.timeout(60):
        while hub.behind:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    replay.stop()
    pool.close()


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
