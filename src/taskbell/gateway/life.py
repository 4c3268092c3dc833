"""The life of open streams: pings, age, stalled readers, and whether their person may still read."""

import asyncio
import random
from collections import deque
from typing import Final

from taskbell import faults
from taskbell.conf import current
from taskbell.gateway.access import still_granted
from taskbell.gateway.hub import Hub
from taskbell.gateway.pool import Pool
from taskbell.gateway.wire import Stream

# Pings are dealt into seconds; the longest period (45 s and a fifth) fits.
SLOTS: Final = 64
JITTER: Final = (0.8, 1.2)
# A round of the access check that fits one turn of a database thread.
GRANTS_A_BATCH: Final = 50
SHORTEST_PAUSE: Final = 1.0


class Life:
    """Visits every stream of a hub now and then; one timer for all, none a stream."""

    def __init__(self, hub: Hub, pool: Pool) -> None:
        self.hub = hub
        self.pool = pool
        self._slots: deque[list[Stream]] = deque([] for _ in range(SLOTS))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin the rounds on the running loop."""
        self._tasks = [asyncio.create_task(self._pings()), asyncio.create_task(self._checks())]

    def stop(self) -> None:
        """End the rounds."""
        for task in self._tasks:
            task.cancel()

    def enter(self, stream: Stream) -> None:
        """Plan the first visit to a new stream."""
        seconds = current().PING * random.uniform(*JITTER)
        self._slots[max(1, min(SLOTS - 1, round(seconds)))].append(stream)

    async def _pings(self) -> None:
        while True:
            await asyncio.sleep(1)
            # A ping would claim frames that are still on their way.
            while self.hub.fanning_out:  # noqa: ASYNC110  milliseconds, and nobody else waits for it
                await asyncio.sleep(0)
            self._slots.rotate(-1)
            due, self._slots[0] = self._slots[0], []
            for stream in due:
                if not stream.closed:
                    self._visit(stream)
            self._cut_stalled()

    def _visit(self, stream: Stream) -> None:
        try:
            if asyncio.get_running_loop().time() >= stream.ends_at:
                self.hub.dismiss(stream, "age")
                return
            self.hub.ping(stream)
        except Exception:
            # The rounds are everybody's: one broken connection must not end them.
            faults.exception("A stream could not be pinged and is cut.")
            stream.abort()
            return
        self.enter(stream)

    def _cut_stalled(self) -> None:
        now, patience = asyncio.get_running_loop().time(), current().STALLED
        for stream, (unsent, since) in list(self.hub.behind.items()):
            left = stream.unsent()
            if left != unsent:
                self.hub.behind[stream] = (left, now)
            elif left and now - since >= patience:
                stream.abort()

    async def _checks(self) -> None:
        loop = asyncio.get_running_loop()
        took = 0.0
        while True:
            await asyncio.sleep(max(SHORTEST_PAUSE, current().RECHECK - took))
            began = loop.time()
            streams = list(self.hub.streams)
            for start in range(0, len(streams), GRANTS_A_BATCH):
                await self._check(streams[start : start + GRANTS_A_BATCH])
            took = loop.time() - began

    async def _check(self, streams: list[Stream]) -> None:
        try:
            answers = await self.pool.run(still_granted, [stream.grant for stream in streams])
        except Exception:
            faults.exception("Access could not be checked again.")
            return
        for stream, granted in zip(streams, answers, strict=True):
            if not granted and not stream.closed:
                self.hub.dismiss(stream, "signed_out")
