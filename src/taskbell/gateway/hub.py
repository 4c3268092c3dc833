"""The hub: one reader of the log, many streams. All of it runs on the event loop's thread.

A batch of frames that piled up since the last turn is one fan-out: each stream gets one write. One fan-out at a
time; a large one yields to the loop between slices, over the streams that were live when it began.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from taskbell import faults
from taskbell.conf import current
from taskbell.counts import count
from taskbell.gateway.activity import Activity
from taskbell.gateway.audience import PULL_BYTES, Audience, Fanout, join, take
from taskbell.gateway.window import Frame, Window
from taskbell.gateway.wire import LIVE, Stream
from taskbell.ground import sse
from taskbell.ground.cursor import Cursor
from taskbell.ground.sse import ByeReason, ResetReason
from taskbell.store.control import ACTIVITY_CHANNEL

# A write to a socket costs 5 to 10 µs: a slice holds the loop for about 2 ms.
SLICE: Final = 250
# The log is looked at every POLL seconds. A machine that is busy may come as much later; whoever is later stood still.
SLACK_SECONDS: Final = 4.0


class Rewritten:
    """History is not what the streams were told; they go on after `place`."""

    def __init__(self, reason: ResetReason, place: Cursor) -> None:
        self.reason = reason
        self.place = place


class Hub:
    """Fan-out of one process. `ask_log` is called with a behind stream that the window cannot serve;
    the answer comes as `hand_over` or `reset`. `on_leave` is called once for each stream that is gone."""

    def __init__(self, window: Window, ask_log: Callable[[Stream], None], on_leave: Callable[[Stream], None]) -> None:
        self.window = window
        self.ask_log = ask_log
        self.on_leave = on_leave
        self.position: Cursor | None = None
        self.audience = Audience()
        self.activity = Activity(self._watchers, lambda: None if self.fanning_out else self.position)
        self.streams: set[Stream] = set()
        self.behind: set[Stream] = set()
        self.delivered = 0
        #: When the pump began its last look at the log, by the monotonic clock; before the first one nothing is here.
        self.looked_at = math.inf
        self._held: set[Stream] = set()
        self.pending: deque[Sequence[Frame] | Rewritten] = deque()
        # Nothing is under way or waits for its turn; the pump's thread waits for it.
        self.resting = threading.Event()
        self.resting.set()
        self._fanout = Fanout()
        self._before = 0
        self._scheduled = False
        self._moved = asyncio.Event()

    # What the pump says

    def start_at(self, place: Cursor, frames: Iterable[Frame]) -> None:
        """Begin at `place`, with a window of the frames up to it."""
        self.window.add(frames)
        self.position = place
        self._tell_waiting()

    def feed(self, frames: Sequence[Frame]) -> None:
        """Take frames that follow everything fed before; they leave in the next turn of the loop."""
        self.pending.append(frames)
        self._schedule()

    def rewrite(self, reason: ResetReason, place: Cursor) -> None:
        """Tell every stream that it may have missed something, after what was fed before."""
        self.pending.append(Rewritten(reason, place))
        self._schedule()

    def forget(self, channels: Collection[str]) -> None:
        """Keep nothing of these channels, here or on its way; nobody reads them any more."""
        for channel in channels:
            self.window.drop(channel)
        self.pending = deque(
            item
            if isinstance(item, Rewritten)
            else [frame.blank() if frame.channel in channels else frame for frame in item]
            for item in self.pending
        )

    def look(self, began: float) -> None:
        """Take note of a look at the log that began then: all that it found was said before this."""
        self.looked_at = began
        held, self._held = self._held, set()
        for stream in held:
            self.caught_breath(stream)

    @property
    def is_current(self) -> bool:
        """Whether the log was looked at lately. A process that stood still knows nothing of who was shut out since."""
        return time.monotonic() - self.looked_at < current().POLL + SLACK_SECONDS

    @property
    def fanning_out(self) -> bool:
        """True while some live streams have not been handed everything up to `position` yet."""
        return not self._fanout.over

    # What the endpoint says

    async def reaches(self, seq: int, seconds: float) -> bool:
        """Wait until the position is at `seq`; a browser may come from a gateway that was faster."""
        if self.position is not None and self.position.seq >= seq:
            return True
        try:
            async with asyncio.timeout(seconds):
                while self.position is None or self.position.seq < seq:
                    moved = self._moved
                    await moved.wait()
        except TimeoutError:
            return False
        return True

    def knows(self, cursor: Cursor) -> bool:
        """Tell whether a cursor is of the log that this hub reads."""
        return self.position is not None and cursor.log_id == self.position.log_id

    def join(self, stream: Stream, after: Cursor | None, reset: ResetReason | None = None, head: bytes = b"") -> None:
        """Let a stream in: live from here, with a `reset`, or behind after its cursor; `head` goes first."""
        assert self.position is not None
        self.streams.add(stream)
        count("streams_opened_total")
        self.audience.add(stream)
        reset = reset or (self._doubt(stream, after) if after else None)
        if reset is not None:
            count("resets_total", reset)
            stream.write(head + sse.OPENING + sse.reset(self.position, reset) + sse.ping(self.position))
        elif after is None:
            stream.write(head + sse.OPENING + sse.ping(self.position))
        else:
            self._resume(stream, after, head + sse.OPENING + sse.ping(after))
        if stream.place == LIVE and stream.buffered():
            # Unsent bytes of an earlier response on this connection: the transport was full before it was ours.
            self.fell_behind(stream)

    def _resume(self, stream: Stream, after: Cursor, opening: bytes) -> None:
        self._fall_behind(stream, after.seq)
        if self.is_current and self._in_memory(stream):
            self._pull(stream, opening)
        else:
            self._write_behind(stream, opening)

    def _doubt(self, stream: Stream, after: Cursor) -> ResetReason | None:
        """Return why this cursor cannot be continued, as far as memory tells; otherwise the log is asked first."""
        position = self.position
        assert position is not None
        if after.log_id != position.log_id or after.seq > position.seq:
            return "rewritten"
        nonce = position.nonce if after.seq == position.seq else self.window.nonce_at(after.seq)
        if nonce is None:
            stream.unchecked = after
            return None
        if nonce != after.nonce:
            return "rewritten"
        missed = len(self.window.after(after.seq, stream.channels))
        return "too_much" if missed > current().REPLAY_LIMIT else None

    # What streams say

    def fell_behind(self, stream: Stream) -> None:
        """Unsent bytes lie in the stream's buffer: push nothing more."""
        if stream.place == LIVE and self.position is not None:
            self._fall_behind(stream, self.position.seq)

    def caught_breath(self, stream: Stream) -> None:
        """The buffer is empty: pull what came meanwhile, or go live."""
        if stream.place == LIVE or stream.closed or self.position is None:
            return
        if not self.is_current:
            self._held.add(stream)
            return
        if stream.owed_reset is not None:
            reason, stream.owed_reset = stream.owed_reset, None
            stream.unchecked = None
            self._go_live(stream)
            count("resets_total", reason)
            stream.write(sse.reset(self.position, reason))
        elif self._in_memory(stream):
            self._pull(stream)
        else:
            self.ask_log(stream)

    def hand_over(self, stream: Stream, data: bytes, place: int) -> None:
        """Give a behind stream what was replayed for it, up to `place`, and let it go on."""
        stream.unchecked = None
        if not self.is_current:  # it is read once more
            self._held.add(stream)
        elif data and not stream.closed and stream.owed_reset is None:
            stream.place = place
            self._write_behind(stream, data)
        else:
            stream.place = place
            self.caught_breath(stream)

    def reset(self, stream: Stream, reason: ResetReason) -> None:
        """Tell one behind stream that it missed something; it goes on live."""
        stream.unchecked = None
        stream.owed_reset = reason
        self.caught_breath(stream)

    def left(self, stream: Stream) -> None:
        """Forget a stream whose connection is gone."""
        if stream in self.streams:
            count("streams_closed_total")
        self.streams.discard(stream)
        self.behind.discard(stream)
        self._held.discard(stream)
        self.audience.remove(stream)
        self.on_leave(stream)

    def ping(self, stream: Stream) -> None:
        """Give a live stream a sign of life. A behind one has bytes on their way, and they are one."""
        if stream.place == LIVE and self.position is not None:
            stream.write(sse.ping(self.position))

    def dismiss(self, stream: Stream, reason: ByeReason, retry_ms: int = sse.RETRY_MS) -> None:
        """Say `bye` to a stream and end it."""
        count("byes_total", reason)
        stream.finish(sse.bye(reason, retry_ms))

    def expel(self, stream: Stream) -> None:
        """End a stream whose person may not read on: bytes that wait in a buffer of ours do not leave any more."""
        if stream.buffered():
            stream.abort()
        else:
            self.dismiss(stream, "signed_out")

    # Fan-out

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Do one slice of the fan-out at hand, or begin the next with all that piled up."""
        self._scheduled = False
        if not self.fanning_out:
            self._begin()
        # The loop that everything else here is for: written out, because a call costs a tenth of the write itself.
        for stream, data in self._fanout.take(SLICE):
            if stream.closed:
                continue
            try:
                if data is None:
                    self._pull_from_before(stream)
                else:
                    stream.push(data)
            except Exception:
                # One broken connection must not keep everybody else's frames.
                faults.exception("A stream could not be written to and is cut.")
                count("streams_cut_total", "broken")
                stream.abort()
        if self._fanout.over:
            self.delivered += len(self._fanout)
            self._fanout = Fanout()
        if self.fanning_out or self.pending:
            self._schedule()
        else:
            self.resting.set()

    def _pull_from_before(self, stream: Stream) -> None:
        self._fall_behind(stream, self._before)
        self.caught_breath(stream)

    def _begin(self) -> None:
        frames: list[Frame] = []
        while self.pending:
            item = self.pending[0]
            if isinstance(item, Rewritten):
                if frames:
                    break
                self.pending.popleft()
                self._fanout = self._forget_history(item)
                self._tell_waiting()
                return
            frames += self.pending.popleft()  # type: ignore[arg-type]
        if not frames or self.position is None:
            return
        self.window.add(frames)
        self._before = self.position.seq
        self.position = Cursor(self.position.log_id, frames[-1].seq, frames[-1].nonce)
        self._fanout = self.audience.fanout_of(frames)
        if self._watchers():
            self.activity.note()
        self._tell_waiting()

    def _watchers(self) -> Collection[Stream]:
        return self.audience.streams_of(ACTIVITY_CHANNEL)

    def _forget_history(self, rewritten: Rewritten) -> Fanout:
        self.window.clear()
        self.position = rewritten.place
        data = sse.reset(rewritten.place, rewritten.reason)
        count("resets_total", rewritten.reason, by=len(self.streams) - len(self.behind))
        for stream in self.behind:
            stream.owed_reset = rewritten.reason
        fanout = Fanout()
        fanout.add([stream for stream in self.streams if stream.place == LIVE], data)
        return fanout

    # Behind

    def _fall_behind(self, stream: Stream, place: int) -> None:
        stream.place = place
        self.behind.add(stream)

    def _go_live(self, stream: Stream) -> None:
        stream.place = LIVE
        self.behind.discard(stream)

    def _in_memory(self, stream: Stream) -> bool:
        """Tell whether all that a behind stream still has to get is in the window."""
        if stream.unchecked is not None or self.position is None:
            return False
        return stream.place == self.position.seq or self.window.covers(stream.place)

    def _pull(self, stream: Stream, before: bytes = b"") -> None:
        frames = self.window.after(stream.place, stream.channels)
        taken = take(frames, PULL_BYTES)
        data = before + join(taken)
        if len(taken) == len(frames):
            self._go_live(stream)
            if data:
                stream.write(data)
        else:
            stream.place = taken[-1].seq
            self._write_behind(stream, data)

    def _write_behind(self, stream: Stream, data: bytes) -> None:
        """Write to a stream that stays behind; if the bytes leave at once, go on in the next turn of the loop."""
        stream.write(data)
        if not stream.buffered():
            asyncio.get_running_loop().call_soon(self.caught_breath, stream)

    def _tell_waiting(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
