"""Control: what this gateway was told of ended access, and what it does about it at once.

It runs on the event loop's thread, before the frames of the same rows are fanned out.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from taskbell.gateway.access import is_public
from taskbell.gateway.hub import Hub
from taskbell.gateway.limits import Limits
from taskbell.gateway.recheck import Recheck
from taskbell.store.control import ControlEvent, forgotten_channels, read, session_name
from taskbell.store.log import LogRow

# What the people of a busy site do in the lifetime of a pass; about 10 MB.
MOST_HELD: Final = 50_000


class Newest:
    """The newest control number of each person and of each ended session, complete above `since`."""

    def __init__(self) -> None:
        self.since = 0
        self._people: dict[str, int] = {}
        self._sessions: dict[str, int] = {}

    def begin(self, since: int) -> None:
        """Start anew: nothing is known of what happened up to `since`."""
        self.since = since
        self._people.clear()
        self._sessions.clear()

    def note_person(self, person: str, seq: int) -> None:
        """Remember that from `seq` on a person has to be asked about again."""
        self._note(self._people, person, seq)

    def note_session(self, session: str, seq: int) -> None:
        """Remember that the session of this name ended."""
        self._note(self._sessions, session, seq)

    def of(self, person: str, session: str) -> int:
        """Return the number before which nothing that was found out about these two holds any more."""
        return max(self.since, self._people.get(person, 0), self._sessions.get(session, 0))

    def has_ended(self, session: str) -> bool:
        """Tell whether a sign-out named this session: its key is never used again, whatever still has it in store."""
        return session in self._sessions

    def _note(self, numbers: dict[str, int], name: str, seq: int) -> None:
        numbers.pop(name, None)  # so that the oldest comes first
        numbers[name] = seq
        if len(numbers) > MOST_HELD:
            self.since = max(self.since, numbers.pop(next(iter(numbers))))


class Control:
    """Ends streams, or has them checked, as control events say."""

    def __init__(self, hub: Hub, limits: Limits, recheck: Recheck, newest: Newest) -> None:
        self.hub = hub
        self.limits = limits
        self.recheck = recheck
        self.newest = newest

    def begin(self, since: int, rows: Iterable[LogRow] = ()) -> None:
        """Learn the control events that the log still has; they are complete above `since`."""
        self.newest.begin(since)
        for event, seq in _events(rows):
            self._note(event, seq)

    def take(self, rows: Sequence[LogRow]) -> None:
        """Act on the control events among rows that were just numbered."""
        for event, seq in _events(rows):
            self._note(event, seq)
            self._act(event)

    def forget(self, rows: Iterable[LogRow]) -> None:
        """Keep nothing of people who are forgotten; called when everything up to these rows was fed."""
        self.hub.forget(forgotten_channels(rows))

    def _note(self, event: ControlEvent, seq: int) -> None:
        if event.session is not None:
            self.newest.note_session(event.session, seq)
        elif event.person is not None:
            self.newest.note_person(event.person, seq)

    def _act(self, event: ControlEvent) -> None:
        if event.person is None:
            self.recheck.soon(stream for stream in self.hub.streams if not is_public(stream.channels))
            return
        theirs = [stream for stream in self.limits.streams_of(event.person) if not is_public(stream.channels)]
        if event.change == "changed":
            self.recheck.soon(theirs)
            return
        for stream in theirs:
            key = stream.grant.caller.session_key
            if event.session is None or (key is not None and session_name(key) == event.session):
                self.hub.expel(stream)


def _events(rows: Iterable[LogRow]) -> Iterable[tuple[ControlEvent, int]]:
    return ((event, row.seq) for row in rows if (event := read(row)) is not None)
