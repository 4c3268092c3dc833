from abc import ABC, abstractmethod
from threading import Event


class Wakeup(ABC):
    """How writers wake gateways; one object per process and database alias.

    A ring is a hint and carries nothing: a lost one costs a poll interval, a repeated or forged one costs a look.
    """

    def __init__(self, alias: str) -> None:
        self.alias = alias

    @abstractmethod
    def ring(self) -> None:
        """Wake every listener, or raise `WakeupUnavailable` within seconds: so never call it in a transaction."""

    @abstractmethod
    def listen(self) -> "Listener":
        """Return a new listener; the server need not be there."""

    def close(self) -> None:
        """Drop what ringing keeps open; the next ring opens it anew."""


class Listener(ABC):
    """Hears rings for one thread.

    `reason` says why nothing is heard right now, for people; empty while rings are heard, or none are needed.
    """

    reason = ""

    def __init__(self) -> None:
        self._closed = Event()

    @abstractmethod
    def wait(self, timeout: float) -> bool:
        """Return True when something rang, or may have, since the last call; False after `timeout` seconds.

        Never raises and never takes longer, whatever the server does. Listening that broke is repaired by itself,
        and answers True once when it is, because rings may have been missed. A closed listener answers at once.
        """

    def close(self) -> None:
        """Stop listening; also from another thread, to end its `wait`."""
        self._closed.set()

    @property
    def deaf(self) -> bool:
        """Whether rings are not heard now: its own probe did not come back, or has not yet."""
        return bool(self.reason)
