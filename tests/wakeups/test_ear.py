"""The listener's own decisions, on a server in memory that fails as told."""

from collections.abc import Iterator
from contextlib import closing
from queue import Empty, SimpleQueue

import pytest

from taskbell.exceptions import WakeupUnavailable
from taskbell.wakeups import ear
from taskbell.wakeups.ear import Ear
from taskbell.wakeups.server import ServerWakeup
from tests.wakeups.sides import QUIET, SOON, eventually, settle


class Memory(ServerWakeup):
    """A server whose messages reach everybody, or nobody while `swallows`; `error` is what connecting meets."""

    name = "Memory"
    hint = "It was told to swallow."

    def __init__(self) -> None:
        super().__init__("any")
        self.receivers: list[_Receiver] = []
        self.opened = 0
        self.sent: list[bytes] = []
        self.error: Exception | None = None
        self.swallows = False
        self.company = b""

    def open_sender(self) -> "_Sender":
        return _Sender(self)

    def open_receiver(self) -> "_Receiver":
        self.opened += 1
        if self.error:
            raise self.error
        self.receivers.append(_Receiver())
        return self.receivers[-1]


class _Sender:
    def __init__(self, server: Memory) -> None:
        self._server = server

    def send(self, payload: bytes) -> None:
        self._server.sent.append(payload)
        for receiver in self._server.receivers:
            # A foreign ring arrives just before a probe.
            if self._server.company:
                receiver.heard.put(self._server.company)
            if not self._server.swallows:
                receiver.heard.put(payload)

    def close(self) -> None:
        pass


class _Receiver:
    def __init__(self) -> None:
        self.heard: SimpleQueue[bytes] = SimpleQueue()
        self.closed = False

    def subscribe(self) -> None:
        pass

    def receive(self, timeout: float) -> list[bytes]:
        try:
            return [self.heard.get(timeout=timeout)]
        except Empty:
            return []

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Memory:
    monkeypatch.setattr(ear, "PROBE_TIME", 0.1)
    monkeypatch.setattr(ear, "GLANCE", 0.02)
    return Memory()


@pytest.fixture
def listener(server: Memory) -> Iterator[Ear]:
    with closing(Ear(server)) as listener:
        yield listener


def test_who_does_not_hear_itself_is_deaf(server: Memory, caplog: pytest.LogCaptureFixture) -> None:
    server.swallows = True
    with closing(Ear(server)) as listener:
        assert eventually(lambda: server.opened == 3)
        assert listener.deaf
        assert listener.reason == "Memory: connected, but its own probe was not heard. It was told to swallow."
        assert caplog.messages == [
            f"Taskbell does not hear rings and looks every POLL seconds instead: {listener.reason}"
        ]
        server.swallows = False
        settle(listener)
    assert all(receiver.closed for receiver in server.receivers)


def test_tries_again_less_and_less_often(server: Memory) -> None:
    server.error = WakeupUnavailable("gone")
    with closing(Ear(server)) as listener:
        assert not listener.wait(0.6)
        # At once, after a quarter of a second, after half of one more; each pause may be shortened by half.
        assert 2 <= server.opened <= 4


@pytest.mark.parametrize("error", [WakeupUnavailable("gone"), ZeroDivisionError("unthought of"), OSError("odd")])
def test_no_error_ends_it(server: Memory, error: Exception) -> None:
    server.error = error
    with closing(Ear(server)) as listener:
        assert eventually(lambda: str(error) in listener.reason)
        server.error = None
        settle(listener)


def test_doubts_a_long_silence(server: Memory, listener: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(listener)
    assert len(server.sent) == 1
    monkeypatch.setattr(ear, "SILENCE", 0.05)
    assert eventually(lambda: len(server.sent) > 3)
    assert not listener.wait(QUIET)
    assert len(set(server.sent)) == len(server.sent)


def test_rings_are_signs_of_life(server: Memory, listener: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(listener)
    monkeypatch.setattr(ear, "SILENCE", 1.0)
    for _ in range(7):
        server.receivers[0].heard.put(b"")
        assert listener.wait(SOON)
        assert not listener.wait(0.2)
    assert len(server.sent) == 1


def test_a_ring_during_a_probe_is_not_lost(server: Memory, listener: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(listener)
    server.company = b"foreign"
    monkeypatch.setattr(ear, "SILENCE", 0.05)
    assert listener.wait(SOON)


def test_a_probe_that_stays_unheard_ends_the_connection(
    server: Memory, listener: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(listener)
    monkeypatch.setattr(ear, "SILENCE", 0.05)
    server.swallows = True
    assert eventually(lambda: listener.deaf)
    assert server.receivers[0].closed
    server.swallows = False
    settle(listener)


def test_nothing_is_heard_before_it_listens(server: Memory) -> None:
    server.error = WakeupUnavailable("gone")
    with closing(Ear(server)) as listener:
        assert listener.deaf
        assert listener.wait(0.05) is False
