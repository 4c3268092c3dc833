"""The audience: who reads which channel, and so what a batch of frames means for each stream."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from taskbell.gateway.window import Frame
from taskbell.gateway.wire import LIVE, Stream

# What a stream may have in its buffer at a time (one event may be as long).
PULL_BYTES: Final = 64 * 1024


class Fanout:
    """What one batch of frames asks for: the first stream gets the first write, and so on; for None it pulls.

    Two lists side by side: a pair for each of thousands of streams would set off the garbage collector.
    """

    __slots__ = ("_done", "_streams", "_writes")

    def __init__(self) -> None:
        self._streams: list[Stream] = []
        self._writes: list[bytes | None] = []
        self._done = 0

    def add(self, streams: Sequence[Stream], data: bytes | None) -> None:
        """Have the same bytes written to these streams, or, for None, let them pull piece by piece."""
        self._streams += streams
        self._writes += [data] * len(streams)

    def take(self, most: int) -> Iterator[tuple[Stream, bytes | None]]:
        """Yield the next writes; they count as done from now on."""
        begin, self._done = self._done, self._done + most
        return zip(self._streams[begin : self._done], self._writes[begin : self._done], strict=True)

    @property
    def over(self) -> bool:
        """True when nothing is left to take."""
        return self._done >= len(self._streams)

    def __len__(self) -> int:
        return len(self._streams)


class Audience:
    """Streams by channel, in the order in which they came: that is how they and their sockets lie in memory."""

    def __init__(self) -> None:
        self._streams: dict[str, dict[Stream, None]] = {}

    def add(self, stream: Stream) -> None:
        """Let a stream hear its channels."""
        for channel in stream.channels:
            self._streams.setdefault(channel, {})[stream] = None

    def remove(self, stream: Stream) -> None:
        """Forget a stream; harmless when it is not there."""
        for channel in stream.channels:
            if (streams := self._streams.get(channel)) is not None:
                streams.pop(stream, None)
                if not streams:
                    del self._streams[channel]

    def __len__(self) -> int:
        return len(self._streams)

    def streams_of(self, channel: str) -> Collection[Stream]:
        """Return the streams that read a channel."""
        return self._streams.get(channel, ())

    def fanout_of(self, frames: Sequence[Frame]) -> Fanout:
        """Return one write for each live stream that a frame concerns: all of a channel's frames are joined once."""
        by_channel: dict[str, list[Frame]] = {}
        for frame in frames:
            if frame.channel in self._streams:
                by_channel.setdefault(frame.channel, []).append(frame)
        fanout = Fanout()
        several: dict[Stream, list[Frame]] = {}
        for channel, own in by_channel.items():
            live = [stream for stream in self._streams[channel] if stream.place == LIVE]
            fanout.add([stream for stream in live if len(stream.channels) == 1], _join_or_pull(own))
            for stream in live:
                if len(stream.channels) > 1:
                    several.setdefault(stream, []).extend(own)
        for stream, own in several.items():
            own.sort(key=lambda frame: frame.seq)
            fanout.add([stream], _join_or_pull(own))
        return fanout


def join(frames: Sequence[Frame]) -> bytes:
    """Return one write of all frames."""
    return b"".join([frame.data for frame in frames])


def take(frames: Sequence[Frame], most: int) -> Sequence[Frame]:
    """Return as many of the first frames as `most` bytes hold, and always one."""
    size = 0
    for taken, frame in enumerate(frames):
        size += len(frame.data)
        if taken and size > most:
            return frames[:taken]
    return frames


def _join_or_pull(frames: Sequence[Frame]) -> bytes | None:
    return join(frames) if len(take(frames, PULL_BYTES)) == len(frames) else None
