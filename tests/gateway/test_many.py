"""A thousand open, authorised streams: no thread and no database connection for any of them."""

import asyncio
import resource
import time
from pathlib import Path

import pytest
from django.db import connection

from taskbell import publish_many
from tests.gateway.real import KINDS, Make, Start
from tests.servers.process import Process
from tests.servers.sse import Event, Parser

pytestmark = pytest.mark.proof

PEOPLE, EACH = 100, 10


def threads_of(process: Process) -> int:
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


def sessions() -> int:
    """Count the connections to this database, but for the one that asks."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("select count(*) from pg_stat_activity where datname = current_database()")
            (found,) = cursor.fetchone()
    finally:
        connection.close()
    return int(found) - 1


class Page:
    """One stream in an event loop; a thousand threads of ours would measure ourselves."""

    def __init__(self, cookie: str) -> None:
        self.cookie = cookie
        self.parser = Parser()

    async def open(self, port: int) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.writer.write(f"GET /events/ HTTP/1.1\r\nHost: localhost\r\nCookie: {self.cookie}\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        self.chunked = b"chunked" in head.lower()
        await self.until("ping")

    async def until(self, type: str) -> list[Event]:
        events: list[Event] = []
        while not any(event.type == type for event in events):
            events += self.parser.feed(await self.piece())
        return events

    async def piece(self) -> bytes:
        if not self.chunked:
            return await self.reader.readuntil(b"\n\n")
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]


@KINDS
def test_a_thousand_streams_cost_no_thread_and_no_connection(project: Make, start: Start) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    one = project("postgres")
    one.configure(STREAMS_PER_ADDRESS=PEOPLE * EACH, STREAMS_PER_PERSON=EACH, PING=45)
    people = [one.person(f"person-{number}") for number in range(PEOPLE)]
    cookies = [one.sign_in(person) for person in people]
    gateway = start(one)
    # The pool's threads start with its first job.
    with gateway.stream(cookie=cookies[0]) as stream:
        stream.read()
    idle_threads = threads_of(gateway)

    async def main() -> float:
        pages = [Page(cookie) for cookie in cookies for _ in range(EACH)]
        for at in range(0, len(pages), 50):
            await asyncio.gather(*(page.open(gateway.port) for page in pages[at : at + 50]))
        assert threads_of(gateway) <= idle_threads + 4, "at most the rest of the pool"
        assert await asyncio.to_thread(sessions) <= 12, "pump, wakeup, pool and loops"
        began = time.monotonic()
        await asyncio.to_thread(publish_to_all)
        async with asyncio.timeout(30):
            read = await asyncio.gather(*(page.until("message") for page in pages))
        took = time.monotonic() - began
        for number, events in enumerate(read):
            messages = [event.json for event in events if event.type == "message"]
            assert messages == [{"to": number // EACH}], "one's own, and once"
        for page in pages:
            page.writer.close()
        return took

    def publish_to_all() -> None:
        try:
            publish_many((person, "message", {"to": number}) for number, person in enumerate(people))
        finally:
            connection.close()

    asyncio.run(main())
    gateway.wait_until(lambda: len(list(Path(f"/proc/{gateway.pid}/fd").iterdir())) < 100, what="rid of them")
    assert threads_of(gateway) <= idle_threads + 4
