"""The listener of every wakeup over a server: connects, proves that it hears, and repairs itself.

It works on a thread of its own, so that a server that hangs delays nobody who waits.
"""

import random
import secrets
from contextlib import closing
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, Final

from taskbell.exceptions import WakeupUnavailable
from taskbell.faults import Fault
from taskbell.wakeups.base import Listener
from taskbell.wakeups.pauses import Backoff

if TYPE_CHECKING:
    from taskbell.wakeups.server import Receiver, ServerWakeup

# A server answers a probe in a millisecond; one that needs a second is no faster than polling.
PROBE_TIME: Final = 1.0
# A connection can die without a word (a firewall, a failed-over address, a replica cut off). Silence of this length
# is doubted. Any ring counts as a sign of life, another gateway's probe too, so many gateways probe hardly more.
SILENCE: Final = 30.0
# The thread looks up this often to see whether it was closed.
GLANCE: Final = 0.25
FIRST_PAUSE: Final = 0.25


class Ear(Listener):
    """Hears a server's rings by a connection that has proved itself."""

    reason = "not listening yet"

    def __init__(self, wakeup: "ServerWakeup") -> None:
        super().__init__()
        self._wakeup = wakeup
        self._rang = Event()
        self._backoff = Backoff(FIRST_PAUSE)
        self._fault = Fault()
        self._thread = Thread(target=self._work, name="taskbell-ear", daemon=True)
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        rang = self._rang.wait(timeout)
        # Whatever rings from here on is after the caller's next look or makes the next call True.
        self._rang.clear()
        if self._closed.is_set():
            self._rang.set()
        return rang

    def close(self) -> None:
        """Stop listening; the connection is closed on return unless the server hangs."""
        super().close()
        self._rang.set()
        self._thread.join(2 * GLANCE)

    def _work(self) -> None:
        while not self._closed.is_set():
            try:
                with closing(self._wakeup.open_receiver()) as receiver:
                    self._attend(receiver)
            except Exception as error:  # noqa: BLE001  an ear that ends would be slowness for ever that nobody is told
                self._lost(error)
                # Shuffled, so that a server that comes back does not meet all gateways in one moment.
                self._closed.wait(self._backoff.pause() * random.uniform(0.5, 1))

    def _attend(self, receiver: "Receiver") -> None:
        receiver.subscribe()
        self._probe(receiver)
        self._found()
        heard_at = monotonic()
        while not self._closed.is_set():
            if receiver.receive(GLANCE):
                self._rang.set()
                heard_at = monotonic()
            elif monotonic() - heard_at > SILENCE:
                self._probe(receiver)
                heard_at = monotonic()

    def _probe(self, receiver: "Receiver") -> None:
        """Hear oneself, or raise. The probe goes by another connection, as rings do.

        By its own, a session behind a pooler would hear itself and nobody else.
        """
        token = secrets.token_hex(16).encode()
        with closing(self._wakeup.open_sender()) as sender:
            sender.send(token)
        deadline = monotonic() + PROBE_TIME
        while (left := deadline - monotonic()) > 0:
            heard = receiver.receive(left)
            if token in heard:
                return
            if heard:
                self._rang.set()
        raise WakeupUnavailable(f"connected, but its own probe was not heard. {self._wakeup.hint}")

    def _found(self) -> None:
        self.reason = ""
        self._backoff.reset()
        self._fault.over("Taskbell hears the rings of %s again", self._wakeup.name)
        # Something may have rung before.
        self._rang.set()

    def _lost(self, error: Exception) -> None:
        self.reason = f"{self._wakeup.name}: {error}"
        self._fault.tell("Taskbell does not hear rings and looks every POLL seconds instead: %s", self.reason)
