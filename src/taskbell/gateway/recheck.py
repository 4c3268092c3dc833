"""Whether the person behind an open stream may still read: asked now and then of all, and at once when told to."""

import asyncio
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import count
from typing import Final, Protocol

from taskbell import faults
from taskbell.conf import current
from taskbell.gateway.access import Grant, has_account, still_granted
from taskbell.gateway.hub import Hub
from taskbell.gateway.pool import Pool
from taskbell.gateway.wire import Stream

# One turn of a database thread.
GRANTS_A_BATCH: Final = 50
# Within RECHECK, with something left for a busy database.
MARGIN: Final = 0.9
# Who changes their own password is a stranger until their session has been given the new one.
SECOND_LOOK: Final = 2.0


class Distrusted(Protocol):
    """Where it is remembered that a person was refused."""

    def note_person(self, person: str, seq: int) -> None: ...


class Standing(Enum):
    """What a grant is worth right now; GONE where the account itself is deleted or inactive."""

    GRANTED = "granted"
    REFUSED = "refused"
    GONE = "gone"


class Recheck:
    """Asks about streams on the pool's threads, and ends those that may not read on."""

    def __init__(self, hub: Hub, pool: Pool, newest: Distrusted) -> None:
        self.hub = hub
        self.pool = pool
        self.newest = newest
        self._doubted: dict[Stream, bool] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._looking: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the rounds on the running loop."""
        self._tasks = [asyncio.create_task(self._rounds())]

    def stop(self) -> None:
        """End the rounds."""
        for task in filter(None, [*self._tasks, self._looking]):
            task.cancel()

    def soon(self, streams: Iterable[Stream]) -> None:
        """Look at once; who is refused, and not gone, is looked at once more before the end."""
        for stream in streams:
            self._doubted.setdefault(stream, False)
        self._look()

    async def _rounds(self) -> None:
        loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        for second in count(1):
            await asyncio.sleep(began + second - loop.time())
            await self._round([stream for stream in self.hub.streams if _is_due(stream, second)])

    async def _round(self, due: Sequence[Stream]) -> None:
        for start in range(0, len(due), GRANTS_A_BATCH):
            batch = [stream for stream in due[start : start + GRANTS_A_BATCH] if not stream.closed]
            for stream, standing in zip(batch, await self._ask(batch), strict=True):
                if standing is not Standing.GRANTED:
                    self._end(stream)

    def _look(self) -> None:
        if self._doubted and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look_at_doubted())

    async def _look_at_doubted(self) -> None:
        while self._doubted:
            batch = [stream for stream, _ in zip(self._doubted, range(GRANTS_A_BATCH), strict=False)]
            finals = [self._doubted.pop(stream) for stream in batch]
            for stream, final, standing in zip(batch, finals, await self._ask(batch), strict=True):
                if standing is Standing.GONE or (standing is Standing.REFUSED and final):
                    self._end(stream)
                elif standing is Standing.REFUSED:
                    asyncio.get_running_loop().call_later(SECOND_LOOK, self._look_again, stream)

    def _look_again(self, stream: Stream) -> None:
        if not stream.closed:
            self._doubted[stream] = True
            self._look()

    async def _ask(self, streams: Sequence[Stream]) -> list[Standing]:
        try:
            return await self.pool.run(_standings, [stream.grant for stream in streams])
        except Exception:
            # Nobody has said no: they stay, and are asked about again when it is their turn.
            faults.exception("Access could not be checked again.")
            return [Standing.GRANTED] * len(streams)

    def _end(self, stream: Stream) -> None:
        if stream.closed:
            return
        if stream.grant.person is not None and self.hub.position is not None:
            # No pass that was given out before now lets them in again.
            self.newest.note_person(stream.grant.person, self.hub.position.seq + 1)
        self.hub.expel(stream)


def _is_due(stream: Stream, second: int) -> bool:
    """Spread the streams evenly: the moment at which each one ends is as good as drawn by lot, and costs no memory."""
    period = max(1, int(MARGIN * current().RECHECK))
    return int(stream.ends_at * 1000) % period == second % period


def _standings(grants: Sequence[Grant]) -> list[Standing]:
    return [
        Standing.GRANTED if granted else Standing.REFUSED if has_account(grant.person) else Standing.GONE
        for grant, granted in zip(grants, still_granted(grants), strict=True)
    ]
