"""The window: recent frames in memory, so that live streams and short absences ask no database."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Self

from taskbell.ground import sse
from taskbell.ground.cursor import Cursor
from taskbell.store.control import CONTROL_CHANNEL
from taskbell.store.log import LogRow

# What one frame costs beside its bytes: the object and its places in two indexes.
FRAME_OVERHEAD: Final = 400


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes of one event, encoded once for all streams."""

    seq: int
    nonce: str
    channel: str | None
    latest_key: str | None
    data: bytes

    @classmethod
    def of(cls, row: LogRow, log_id: str) -> Self:
        """Encode a log row; a blanked one has no bytes, and neither has what gateways tell each other."""
        if row.channel is None or row.channel == CONTROL_CHANNEL:
            return cls(row.seq, row.nonce, None, None, b"")
        data = sse.frame(Cursor(log_id, row.seq, row.nonce), row.type, row.payload)
        return cls(row.seq, row.nonce, row.channel, row.latest_key, data)

    def blank(self) -> Self:
        """Return what is left of it when nobody may have it any more."""
        return type(self)(self.seq, self.nonce, None, None, b"")


class Window:
    """Frames of consecutive numbers, the oldest leaving when `limit` bytes are passed."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self._frames: dict[int, Frame] = {}
        self._channels: dict[str, deque[Frame]] = {}
        self._latest: dict[tuple[str | None, str], int] = {}
        self.bytes = 0

    def add(self, frames: Iterable[Frame]) -> None:
        """Append frames that follow the newest one without a gap."""
        for frame in frames:
            self._frames[frame.seq] = frame
            self.bytes += len(frame.data) + FRAME_OVERHEAD
            if frame.channel is not None:
                self._channels.setdefault(frame.channel, deque()).append(frame)
            if frame.latest_key is not None:
                self._latest[frame.channel, frame.latest_key] = frame.seq
        while self.bytes > self.limit and len(self._frames) > 1:
            self._drop_oldest()

    def drop(self, channel: str) -> None:
        """Keep nothing of a channel but numbers and nonces."""
        for frame in self._channels.pop(channel, ()):
            self._frames[frame.seq] = frame.blank()
            self.bytes -= len(frame.data)
            if frame.latest_key is not None:
                self._latest.pop((channel, frame.latest_key), None)

    def nonce_at(self, seq: int) -> str | None:
        """Return the nonce of a number in the window, None outside it."""
        frame = self._frames.get(seq)
        return frame.nonce if frame else None

    def covers(self, seq: int) -> bool:
        """Tell whether everything after `seq` is here."""
        return seq in self._frames or seq + 1 in self._frames

    def after(self, seq: int, channels: Iterable[str]) -> list[Frame]:
        """Return the frames of these channels after `seq`, ascending, only the newest of each latest key."""
        found: list[Frame] = []
        for channel in channels:
            frames = self._channels.get(channel, ())
            found += takewhile(lambda frame: frame.seq > seq, reversed(frames))
        found.sort(key=lambda frame: frame.seq)
        return [frame for frame in found if not self.superseded(frame.channel, frame.latest_key, frame.seq)]

    def superseded(self, channel: str | None, latest_key: str | None, seq: int) -> bool:
        """Tell whether a newer frame of this key is here, on the same channel."""
        return latest_key is not None and self._latest.get((channel, latest_key), 0) > seq

    def __len__(self) -> int:
        return len(self._frames)

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames.values())

    def _drop_oldest(self) -> None:
        seq = next(iter(self._frames))
        frame = self._frames.pop(seq)
        self.bytes -= len(frame.data) + FRAME_OVERHEAD
        if frame.channel is not None:
            frames = self._channels[frame.channel]
            frames.popleft()
            if not frames:
                del self._channels[frame.channel]
        if frame.latest_key is not None and self._latest.get((frame.channel, frame.latest_key)) == seq:
            del self._latest[frame.channel, frame.latest_key]
