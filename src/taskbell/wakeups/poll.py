from taskbell.wakeups.base import Listener, Wakeup


class Poll(Wakeup):
    """No wakeup: the gateway looks when its time-out is over."""

    def ring(self) -> None:
        """Nobody listens."""

    def listen(self) -> Listener:
        """Return a listener that only waits."""
        return _Patience()


class _Patience(Listener):
    def wait(self, timeout: float) -> bool:
        self._closed.wait(timeout)
        return False
