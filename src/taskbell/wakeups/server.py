"""What wakeups over a server have in common: one connection to ring by, one to hear by."""

from abc import abstractmethod
from typing import Final, Protocol

from taskbell.exceptions import WakeupUnavailable
from taskbell.wakeups.base import Listener, Wakeup
from taskbell.wakeups.ear import Ear

RING: Final = b""
# How long a server may take to connect or to answer. A ring later than this has lost to the poll interval, which is
# a second by default.
ANSWER_TIME: Final = 1.0


class Sender(Protocol):
    """A connection that rings. Its methods are bounded in time, and raise nothing but `WakeupUnavailable`."""

    def send(self, payload: bytes) -> None:
        """Hand `payload` to everyone who listens."""

    def close(self) -> None:
        """Let go; never raises."""


class Receiver(Protocol):
    """A connection that hears. Its methods are bounded in time, and raise nothing but `WakeupUnavailable`."""

    def subscribe(self) -> None:
        """Begin to hear."""

    def receive(self, timeout: float) -> list[bytes]:
        """Return what was heard, or nothing after `timeout` seconds at the latest."""

    def close(self) -> None:
        """Let go; never raises."""


class ServerWakeup(Wakeup):
    """A wakeup over a server. Subclasses open the two kinds of connection, and say what deafness hints at."""

    name: str
    hint: str

    def __init__(self, alias: str) -> None:
        super().__init__(alias)
        self._sender: Sender | None = None

    @abstractmethod
    def open_sender(self) -> Sender:
        """Connect for ringing, or raise `WakeupUnavailable`; called by several threads."""

    @abstractmethod
    def open_receiver(self) -> Receiver:
        """Connect for hearing, or raise `WakeupUnavailable`; called by several threads."""

    def listen(self) -> Listener:
        """Return a listener whose thread keeps a connection to the server."""
        return Ear(self)

    def ring(self) -> None:
        """Wake every listener, or raise `WakeupUnavailable` within seconds: so never call it in a transaction."""
        was_kept = self._sender is not None
        try:
            self._ring()
        except WakeupUnavailable:
            self.close()
            if not was_kept:
                raise
            # The connection may have died long ago, with a server that was started again since.
            self.ring()

    def close(self) -> None:
        """Drop the ringing connection; the next ring opens it anew."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _ring(self) -> None:
        if self._sender is None:
            self._sender = self.open_sender()
        self._sender.send(RING)
