"""The audience: who reads which channel, and so what a batch of frames means for each stream."""

from collections.abc import Sequence
from typing import Final

from taskbell.gateway.window import Frame
from taskbell.gateway.wire import LIVE, Stream

# What a stream may have in its buffer at a time (one event may be as long).
PULL_BYTES: Final = 64 * 1024

# What a fan-out does for one stream: write these bytes, or, for None, let it pull them piece by piece.
Job = tuple[Stream, bytes | None]


class Audience:
    """Streams by channel."""

    def __init__(self) -> None:
        self._streams: dict[str, set[Stream]] = {}

    def add(self, stream: Stream) -> None:
        """Let a stream hear its channels."""
        for channel in stream.channels:
            self._streams.setdefault(channel, set()).add(stream)

    def remove(self, stream: Stream) -> None:
        """Forget a stream; harmless when it is not there."""
        for channel in stream.channels:
            if (streams := self._streams.get(channel)) is not None:
                streams.discard(stream)
                if not streams:
                    del self._streams[channel]

    def __len__(self) -> int:
        return len(self._streams)

    def jobs_for(self, frames: Sequence[Frame]) -> list[Job]:
        """Return one job for each live stream that a frame concerns: all of a channel's frames are joined once."""
        by_channel: dict[str, list[Frame]] = {}
        for frame in frames:
            if frame.channel in self._streams:
                by_channel.setdefault(frame.channel, []).append(frame)
        jobs: list[Job] = []
        several: dict[Stream, list[Frame]] = {}
        for channel, own in by_channel.items():
            data = _join_or_pull(own)
            for stream in self._streams[channel]:
                if stream.place != LIVE:
                    continue
                if len(stream.channels) == 1:
                    jobs.append((stream, data))
                else:
                    several.setdefault(stream, []).extend(own)
        for stream, own in several.items():
            own.sort(key=lambda frame: frame.seq)
            jobs.append((stream, _join_or_pull(own)))
        return jobs


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
