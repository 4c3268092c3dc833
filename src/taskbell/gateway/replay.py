"""Replay: behind streams that the window cannot serve share rounds of one scan of the log."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from taskbell import faults
from taskbell.conf import current
from taskbell.gateway.audience import PULL_BYTES
from taskbell.gateway.hub import SLICE, Hub
from taskbell.gateway.pool import Pool
from taskbell.gateway.window import Frame
from taskbell.gateway.wire import Stream
from taskbell.store.log import LogRow
from taskbell.store.missed import PAGE_MARKS, Missed, Reader, Round, check, read_missed

# SQLite takes 32,766 parameters in one statement.
CHANNELS_A_ROUND: Final = 5_000
# What a stream is reckoned with whose rest was not counted: a slow one, which has come back for its next piece.
ROWS_OF_A_REST: Final = 25
# While nobody waits for the rest of a page, rounds come no more often than this, and serve together who came meanwhile.
GATHER_SECONDS: Final = 0.05
# Streams that come back this fast go first (within GATHER_SECONDS): a browser that is not let in gives up, and one that
# is waits. No storm takes longer than the bound; after it both go on side by side.
CROWD: Final = 25
CROWD_SECONDS: Final = 5.0
# The database is away: streams keep their place, and this is how long they wait between tries.
PAUSE_SECONDS: Final = 1.0


class Replay:
    """Answers `ask` by `Hub.hand_over` or `Hub.reset`, one round at a time.

    Streams that come back are checked and counted by the thousand. Then a round takes as many as fill a page of the log
    together, so each is handed what it missed in one piece, if that is not long.
    """

    def __init__(self, pool: Pool, alias: str) -> None:
        self.hub: Hub
        self.rounds = 0
        self._pool = pool
        self._alias = alias
        self._unchecked: dict[Stream, int] = {}
        self._asking: dict[Stream, int] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, stream: Stream) -> None:
        """Put a behind stream into one of the next rounds."""
        waiting = self._asking if stream.unchecked is None else self._unchecked
        waiting.setdefault(stream, ROWS_OF_A_REST)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End without answering; for a process that goes."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        patience = CROWD_SECONDS
        while self._unchecked or self._asking:
            patience = await self._let_crowd_in(patience)
            try:
                await self._check(_group(self._unchecked, lambda rows: 0))
                await self._read(_group(self._asking, lambda rows: rows))
                if not self._asking:
                    await asyncio.sleep(GATHER_SECONDS)
            except Exception:
                faults.exception("Missed events cannot be read right now; it is tried again and again.")
                await asyncio.sleep(PAUSE_SECONDS)

    async def _let_crowd_in(self, patience: float) -> float:
        """Wait while streams come by the hundred, and return for how long that may go on: all of it, once few come."""
        came = len(self._unchecked)  # not those that come back for their next piece
        if came <= CROWD:
            return CROWD_SECONDS
        while came > CROWD and patience > 0:
            before = len(self.hub.streams)
            await asyncio.sleep(GATHER_SECONDS)
            patience -= GATHER_SECONDS
            came = len(self.hub.streams) - before
        return patience

    async def _check(self, streams: Sequence[Stream]) -> None:
        upto = self.hub.position
        if not streams or upto is None:
            return
        readers = [Reader(stream.channels, stream.place, stream.unchecked) for stream in streams]
        answers = await self._pool.run(check, readers, upto, current().REPLAY_LIMIT, self._alias)
        for stream, answer in zip(streams, answers, strict=True):
            self._unchecked.pop(stream, None)
            if isinstance(answer, int):
                stream.unchecked = None
                self._asking[stream] = answer
            else:
                self.hub.reset(stream, answer)

    async def _read(self, streams: Sequence[Stream]) -> None:
        upto = self.hub.position
        if not streams or upto is None:
            return
        round = Round(
            readers=[Reader(stream.channels, stream.place) for stream in streams],
            upto=upto,
            chunk=PULL_BYTES,
            superseded=self.hub.window.superseded,
        )
        self.rounds += 1
        answers = await self._pool.run(read_missed, round, self._alias)
        encoded: dict[int, bytes] = {}
        for number, (stream, answer) in enumerate(zip(streams, answers, strict=True), start=1):
            self._asking.pop(stream, None)
            if isinstance(answer, Missed):
                data = b"".join([_encode(row, upto.log_id, encoded) for row in answer.rows])
                self.hub.hand_over(stream, data, answer.place)
            else:
                self.hub.reset(stream, answer)
            if number % SLICE == 0:
                await asyncio.sleep(0)  # thousands of writes would keep everybody else waiting


def _group(waiting: dict[Stream, int], rows_of: Callable[[int], int]) -> list[Stream]:
    """Return the streams of the next round, those that have waited longest, and drop those that are gone."""
    for stream in [stream for stream in waiting if stream.closed]:
        del waiting[stream]
    group: list[Stream] = []
    rows = channels = 0
    for stream, expected in waiting.items():
        rows += rows_of(expected)
        channels += len(stream.channels)
        if group and (rows > PAGE_MARKS or channels > CHANNELS_A_ROUND):
            break
        group.append(stream)
    return group


def _encode(row: LogRow, log_id: str, encoded: dict[int, bytes]) -> bytes:
    """Encode a row once a round, however many streams it goes to."""
    if row.seq not in encoded:
        encoded[row.seq] = Frame.of(row, log_id).data
    return encoded[row.seq]
