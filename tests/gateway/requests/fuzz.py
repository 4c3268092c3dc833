"""Generated requests against a real gateway, several at a time, and what must be true of each answer."""

import asyncio
import contextlib
import time
from collections import Counter
from typing import Final

from django.contrib.auth.models import User

from taskbell.ground.cursor import Cursor
from tests.gateway.real import say
from tests.gateway.requests.mutations import Generator, Sent
from tests.gateway.requests.reply import Malformed, Reply, parse
from tests.gateway.requests.stage import SLACK_BYTES, Stage
from tests.servers.project import Project
from tests.servers.sse import Parser

#: What a gateway may say to anybody: a stream, health, a refusal, or nothing at all.
ALLOWED: Final = frozenset({0, 200, 400, 401, 403, 404, 405, 408, 431})
MINE, SECRET, NEWS = b"payload-of-mine", b"payload-of-somebody-else", b"payload-for-all"
# Some wait a second or two: for HEADER_TIME, or for a log that has their cursor.
AT_A_TIME: Final = 128
# HEADER_TIME is a second here; the rest is for a machine that others keep busy.
PATIENCE: Final = 20.0
#: Between rounds something is published, and the gateway is looked at.
ROUND: Final = 2_000


class Fuzz:
    """One run of requests 0 to `count`; `complaints` say what was wrong, with the bytes that brought it about."""

    def __init__(self, stage: Stage, project: Project, seed: int) -> None:
        self.stage = stage
        self.statuses: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.replays: Counter[bytes] = Counter()
        self.seconds = 0.0
        #: The gateway's memory after each round, in bytes.
        self.memory: list[int] = []
        self._mine, self._other = project.person("mine"), project.person("secret")
        self._session = project.sign_in(self._mine).removeprefix("sessionid=").encode()
        self._generator = Generator(seed, self._cursors(), self._session)

    def run(self, first: int, count: int) -> None:
        """Send `count` requests, several at a time, and look at the gateway afterwards."""
        began = time.monotonic()
        for start in range(first, first + count, ROUND):
            self._publish()
            asyncio.run(self._round(range(start, min(start + ROUND, first + count))))
            self.memory.append(self.stage.memory())
        self.seconds = time.monotonic() - began
        if self.grown > SLACK_BYTES:
            self.complaints.append(f"memory in MiB after each {ROUND:,} requests: {[m >> 20 for m in self.memory]}")
        self.stage.left_no_trace()

    @property
    def grown(self) -> int:
        """Return the bytes by which memory grew in the second half: what is kept on purpose is full before."""
        return self.memory[-1] - self.memory[len(self.memory) // 2]

    def _cursors(self) -> list[Cursor]:
        with self.stage.gateway.stream("/events/public:news/") as stream:
            found = [stream.read()]
            for _ in range(5):
                self._publish()
                found += stream.take(1, type="message")
        return [Cursor.parse(event.id) for event in found]

    def _publish(self) -> None:
        people: list[tuple[bytes, User | str]] = [(MINE, self._mine), (SECRET, self._other)]
        for payload, to in [*people, (SECRET, "project:secret"), (NEWS, "public:news")]:
            say(payload.decode(), to=to)

    async def _round(self, numbers: range) -> None:
        waiting = iter(numbers)

        async def work() -> None:
            for number in waiting:
                await self._try(number)

        await asyncio.gather(*(work() for _ in range(AT_A_TIME)))

    async def _try(self, number: int) -> None:
        sent = self._generator.request(number)
        try:
            reply = await _exchange(self.stage.port, sent)
            self.statuses["stream" if reply.is_stream else str(reply.status or "closed")] += 1
            wrong = self._wrong(reply, sent)
        except (Malformed, TimeoutError, ValueError) as error:
            wrong = f"{type(error).__name__} {error}"
        if wrong:
            self.complaints.append(f"seed {self._generator.seed}, request {number}: {wrong}\n  {sent.pieces!r}")

    def _wrong(self, reply: Reply, sent: Sent) -> str:
        if reply.status not in ALLOWED:
            return f"answered {reply.status}"
        if SECRET in reply.body or (MINE in reply.body and self._session not in sent.data):
            return "told somebody else's event"
        if reply.is_stream:
            self.replays.update(event.data.encode() for event in Parser().feed(reply.body) if event.type == "message")
        elif reply.status and len(reply.body) not in (0, int(reply.headers["content-length"])):
            return f"more or less than one answer: {reply.body!r}"
        return ""


async def _exchange(port: int, sent: Sent) -> Reply:
    """Send a request and return the reply: to the first pings of a stream, else to the end of the connection."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            data = await _converse(reader, writer, sent)
        finally:
            writer.transport.abort()
    reply = parse(data)
    if reply is None and data:
        raise Malformed(data[:300])
    return reply or Reply()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent) -> bytes:
    data = b""
    with contextlib.suppress(OSError):  # refused before it was all told, or read
        for piece in sent.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if sent.ends:
            writer.write_eof()
        while more := await reader.read(65_536):
            data += more
            reply = parse(data)
            if reply is not None and reply.is_stream and reply.complete:
                # What is replayed comes right behind.
                with contextlib.suppress(TimeoutError):
                    data += await asyncio.wait_for(reader.read(65_536), 0.02)
                break
    return data


def report(fuzz: Fuzz, count: int) -> str:
    """Return what a run found, as lines for people."""
    statuses = "\n".join(f"{number:>9,}  {status}" for status, number in fuzz.statuses.most_common())
    rate = count / fuzz.seconds
    told = f"{count:,} requests in {fuzz.seconds:.0f} s, {rate:,.0f} a second; {fuzz.grown:+,} bytes of memory"
    return "\n".join([told, statuses, *fuzz.complaints])
