"""Readers that take nothing: who has bytes waiting is looked at once a second, and cut after STALLED seconds.

The kernel would do it (TCP_USER_TIMEOUT), and does for all others. But it takes a reader whose window never opens as
far as one segment for a dead one, however steadily it reads (tried: 4 KB a second, cut after 30 s). So whoever is seen
to be behind is ours to watch until the kernel holds nothing for them.
"""

from taskbell.conf import current
from taskbell.counts import count
from taskbell.gateway.hub import Hub
from taskbell.gateway.wire import Stream


class Watch:
    """Streams that are behind, or were and still have bytes in the kernel."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._seen: dict[Stream, tuple[int, float]] = {}

    def look(self, now: float) -> None:
        """Note who took something since the last look, and cut who took nothing for too long."""
        for stream in self.hub.behind:
            if stream not in self._seen:
                stream.let_kernel_cut(False)
                self._seen[stream] = (stream.unsent(), now)
        for stream, (unsent, since) in list(self._seen.items()):
            self._look_at(stream, unsent, since, now)

    def _look_at(self, stream: Stream, unsent: int, since: float, now: float) -> None:
        if stream not in self.hub.streams:
            del self._seen[stream]
            return
        behind, left = stream in self.hub.behind, stream.unsent()
        if not left and not behind:
            del self._seen[stream]
            stream.let_kernel_cut(True)
        elif left < unsent or (behind and left != unsent):
            # Nothing is pushed to one that is behind; if it has more than before, it took the rest and pulled.
            self._seen[stream] = (left, now)
        elif left and now - since >= current().STALLED:
            count("streams_cut_total", "stalled")
            stream.abort()
        else:
            self._seen[stream] = (left, since)
