"""The life of open streams: pings, age and stalled readers."""

import asyncio
import random
from collections import deque
from typing import Final

from taskbell import faults
from taskbell.conf import current
from taskbell.counts import count
from taskbell.gateway.hub import Hub
from taskbell.gateway.stalled import Watch
from taskbell.gateway.wire import Stream

# Pings are dealt into seconds; the longest period (45 s and a fifth) fits.
SLOTS: Final = 64
JITTER: Final = (0.8, 1.2)


class Life:
    """Visits every stream of a hub now and then; one timer for all, none a stream."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._slots: deque[dict[Stream, None]] = deque({} for _ in range(SLOTS))
        self._watch = Watch(hub)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds on the running loop."""
        self._task = asyncio.create_task(self._pings())

    def stop(self) -> None:
        """End the rounds."""
        if self._task is not None:
            self._task.cancel()

    def enter(self, stream: Stream) -> None:
        """Plan the first visit to a new stream."""
        seconds = current().PING * random.uniform(*JITTER)
        stream.pinged_with = self._slots[max(1, min(SLOTS - 1, round(seconds)))]
        stream.pinged_with[stream] = None

    def leave(self, stream: Stream) -> None:
        """Forget a stream that is gone; in a storm, thousands would be held until their next visit."""
        stream.pinged_with.pop(stream, None)

    async def _pings(self) -> None:
        while True:
            await asyncio.sleep(1)
            # A ping would claim frames that are still on their way.
            while self.hub.fanning_out:  # noqa: ASYNC110  milliseconds, and nobody else waits for it
                await asyncio.sleep(0)
            # Before the pings: what was written this moment looks the same each time, as if nobody took any of it.
            self._watch.look(asyncio.get_running_loop().time())
            self._slots.rotate(-1)
            due, self._slots[0] = list(self._slots[0]), {}
            for stream in due:
                if not stream.closed:
                    self._visit(stream)

    def _visit(self, stream: Stream) -> None:
        try:
            if asyncio.get_running_loop().time() >= stream.ends_at:
                self.hub.dismiss(stream, "age")
                return
            self.hub.ping(stream)
        except Exception:
            # The rounds are everybody's: one broken connection must not end them.
            faults.exception("A stream could not be pinged and is cut.")
            count("streams_cut_total", "broken")
            stream.abort()
            return
        self.enter(stream)
