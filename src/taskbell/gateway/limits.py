"""How many streams there may be: for a person, for an address, in the process."""

from collections import Counter
from typing import Self

from taskbell.conf import current
from taskbell.gateway.files import most_streams
from taskbell.gateway.hub import Hub
from taskbell.gateway.request import Rejected
from taskbell.gateway.wire import Stream


class Seat:
    """A place taken for a request; it is given back unless a stream keeps it."""

    __slots__ = ("_address", "_limits", "kept")

    def __init__(self, limits: "Limits", address: str) -> None:
        self._limits = limits
        self._address = address
        self.kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self.kept:
            self._limits.give_back(self._address)

    def keep(self) -> None:
        """Leave the place to a stream, which gives it back when it goes."""
        self.kept = True


class Limits:
    """Counts of one process. Requests count from their first check, so that a burst cannot slip through."""

    def __init__(self) -> None:
        self.total = 0
        self._addresses: Counter[str] = Counter()
        self._people: dict[str, list[Stream]] = {}

    def seat(self, address: str) -> Seat:
        """Take a place or refuse with 503."""
        if self.total >= most_streams():
            raise Rejected(503, "Too many streams in this process.")
        if address and self._addresses[address] >= current().STREAMS_PER_ADDRESS:
            raise Rejected(503, "Too many streams from this address.")
        self._addresses[address] += 1
        self.total += 1
        return Seat(self, address)

    def enter(self, stream: Stream, hub: Hub) -> None:
        """Count a stream for its person; the oldest ones beyond the limit say `bye`."""
        person = stream.grant.person
        if person is None:
            return
        streams = self._people.setdefault(person, [])
        streams.append(stream)
        for oldest in [open for open in streams if not open.closed][: -current().STREAMS_PER_PERSON]:
            hub.dismiss(oldest, "limit")

    def streams_of(self, person: str) -> list[Stream]:
        """Return the open streams of a person."""
        return [stream for stream in self._people.get(person, ()) if not stream.closed]

    def leave(self, stream: Stream) -> None:
        """Give back what a stream had taken."""
        self.give_back(stream.address)
        person = stream.grant.person
        if person is not None and (streams := self._people.get(person)) is not None:
            streams.remove(stream)
            if not streams:
                del self._people[person]

    def give_back(self, address: str) -> None:
        """Free one place of an address."""
        self.total -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
