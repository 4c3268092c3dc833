"""Replay: behind streams that the window cannot serve share rounds of one scan of the log."""

import asyncio
from collections.abc import Sequence
from typing import Final

from taskbell import faults
from taskbell.conf import current
from taskbell.gateway.audience import PULL_BYTES
from taskbell.gateway.hub import Hub
from taskbell.gateway.pool import Pool
from taskbell.gateway.window import Frame
from taskbell.gateway.wire import Stream
from taskbell.store.log import LogRow
from taskbell.store.missed import Missed, Reader, Round, read_missed

# A round holds at most this many times PULL_BYTES in memory.
STREAMS_A_ROUND: Final = 200
# SQLite takes 32,766 parameters in one statement.
CHANNELS_A_ROUND: Final = 5_000
# The database is away: streams keep their place, and this is how long they wait between tries.
PAUSE_SECONDS: Final = 1.0


class Replay:
    """Answers `ask` by `Hub.hand_over` or `Hub.reset`, one round at a time."""

    def __init__(self, pool: Pool, alias: str) -> None:
        self.hub: Hub
        self.rounds = 0
        self._pool = pool
        self._alias = alias
        self._asking: dict[Stream, None] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, stream: Stream) -> None:
        """Put a behind stream into the next round."""
        self._asking[stream] = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End without answering; for a process that goes."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while self._asking:
            group = self._next_group()
            try:
                await self._round([stream for stream in group if not stream.closed])
            except Exception:
                faults.exception("Missed events cannot be read right now; it is tried again and again.")
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            finally:
                self._drop_closed(group)

    def _next_group(self) -> list[Stream]:
        group: list[Stream] = []
        channels = 0
        for stream in self._asking:
            channels += len(stream.channels)
            if group and (len(group) == STREAMS_A_ROUND or channels > CHANNELS_A_ROUND):
                break
            group.append(stream)
        return group

    def _drop_closed(self, group: Sequence[Stream]) -> None:
        for stream in group:
            if stream.closed:
                self._asking.pop(stream, None)

    async def _round(self, streams: Sequence[Stream]) -> None:
        upto = self.hub.position
        if not streams or upto is None:
            return
        round = Round(
            readers=[Reader(stream.channels, stream.place, stream.unchecked) for stream in streams],
            upto=upto,
            limit=current().REPLAY_LIMIT,
            chunk=PULL_BYTES,
            superseded=self.hub.window.superseded,
        )
        self.rounds += 1
        answers = await self._pool.run(read_missed, round, self._alias)
        encoded: dict[int, bytes] = {}
        for stream, answer in zip(streams, answers, strict=True):
            self._asking.pop(stream, None)
            if isinstance(answer, Missed):
                data = b"".join([_encode(row, upto.log_id, encoded) for row in answer.rows])
                self.hub.hand_over(stream, data, answer.place)
            else:
                self.hub.reset(stream, answer)


def _encode(row: LogRow, log_id: str, encoded: dict[int, bytes]) -> bytes:
    """Encode a row once a round, however many streams it goes to."""
    if row.seq not in encoded:
        encoded[row.seq] = Frame.of(row, log_id).data
    return encoded[row.seq]
