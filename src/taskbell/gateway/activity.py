"""That something happened, for the pages of staff: a word without content, and only while such a page is open."""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from taskbell.gateway.wire import LIVE, Stream
from taskbell.ground import sse
from taskbell.ground.cursor import Cursor

# A page looks anew as often at most; what happens meanwhile is told by the same word.
GATHER_SECONDS: Final = 0.5
# While a fan-out is under way, its frames are not all written yet, and the word would claim that they are.
AGAIN_SECONDS: Final = 0.01


class Activity:
    """Gathers what happens within half a second, and tells those who watch once."""

    def __init__(self, watchers: Callable[[], Collection[Stream]], place: Callable[[], Cursor | None]) -> None:
        self._watchers = watchers
        self._place = place
        self._waiting = False

    def note(self) -> None:
        """Something happened; those who watch are told soon."""
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._tell)

    def _tell(self) -> None:
        place = self._place()
        if place is None:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._tell)
            return
        self._waiting = False
        for stream in list(self._watchers()):
            if stream.place == LIVE and not stream.closed:
                stream.write(sse.frame(place, sse.ACTIVITY, "{}"))
