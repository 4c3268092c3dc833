"""A SQLite file that is replaced under a gateway: its background loops work on the new one."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic

import pytest
from django.db import connections
from django.test import override_settings

from taskbell.gateway.app import Gateway
from taskbell.store import connection, loops
from tests.servers.project import Project

SECONDS = 10.0


@contextmanager
def running() -> Iterator[Gateway]:
    """Run a gateway without a server, on an event loop in another thread."""
    started: SimpleQueue[tuple[Gateway, Callable[[], object]]] = SimpleQueue()

    async def live() -> None:
        gateway, ending, loop = Gateway(), asyncio.Event(), asyncio.get_running_loop()
        gateway.start()
        started.put((gateway, lambda: loop.call_soon_threadsafe(ending.set)))
        await ending.wait()
        await gateway.drain()

    before = {*threading.enumerate()}
    thread = threading.Thread(target=asyncio.run, args=[live()])
    thread.start()
    gateway, end = started.get(timeout=SECONDS)
    try:
        yield gateway
    finally:
        end()
        thread.join()
        for left in {*threading.enumerate()} - before:
            left.join(SECONDS)  # each closes its connection


def replace(path: Path) -> None:
    """Put a copy in the place of a database, as a restore does."""
    copy = path.with_name("copy.sqlite3")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("insert into django_session values ('of the copy', '', '2100-01-01')")
        target.commit()
    os.replace(copy, path)
    for name in ("-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)


def sees_the_copy(alias: str) -> bool:
    with connections[alias].cursor() as cursor:
        return bool(cursor.execute("select 1 from django_session where session_key = 'of the copy'").fetchall())


def wait_for(seen: "SimpleQueue[bool]", wanted: bool) -> None:
    deadline = monotonic() + SECONDS
    while monotonic() < deadline:
        try:
            if seen.get(timeout=0.1) is wanted:
                return
        except Empty:
            continue
    raise AssertionError(f"never saw {wanted}")


@override_settings(TASKBELL={"POLL": 1, "DRAIN": 1})
def test_background_loops_follow(project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that stays on the old file prunes what nobody reads any more, and the new one grows for ever."""
    monkeypatch.setattr(connection, "LOOK_SECONDS", 0.1)
    path = Path(project("sqlite").address)
    seen: SimpleQueue[bool] = SimpleQueue()
    loop = loops.Loop(name="look", seconds=0.02, step=lambda alias: seen.put(sees_the_copy(alias)))
    monkeypatch.setitem(loops._loops, "look", loop)
    with running():
        wait_for(seen, False)
        connections["default"].close()
        replace(path)
        wait_for(seen, True)
