"""Both sides of each wakeup: the one under test, and the server behind it with everything that can go wrong there."""

import os
import signal
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import redis
from django.db import connections
from django.test import override_settings

from taskbell.wakeups import Listener, Wakeup, configured
from taskbell.wakeups.redis import channel_of
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey

ALIAS = "rung"
# How long a test waits for what must come. Two slow cores shared with a second worker; nothing waits it out when well.
SOON = 10.0
# How long a test waits for what must not come.
QUIET = 0.15


@contextmanager
def database(settings: dict[str, Any], alias: str = ALIAS) -> Iterator[str]:
    """Give Django one more database for a while."""
    connections.settings[alias] = connections.configure_settings({"default": settings, alias: settings})[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias], connections.settings[alias]


def wakeup(choice: str) -> Any:
    """Set `WAKEUP` for a while."""
    return override_settings(TASKBELL={"WAKEUP": choice})


def settle(listener: Listener) -> None:
    """Wait until it listens, and until what rang before was told."""
    assert listener.wait(SOON), listener.reason
    while listener.wait(QUIET):
        pass
    assert not listener.deaf, listener.reason


def eventually(condition: Callable[[], object]) -> bool:
    """Wait until `condition()`, by asking again and again, and tell whether it came true in time."""
    deadline = monotonic() + SOON
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(0.005)
    return True


class Side:
    """One wakeup with its server; `wakeup` is the one that a writer's process would have."""

    hears = True
    has_server = False

    def __init__(self) -> None:
        self.wakeup: Wakeup = configured(ALIAS)
        self._listeners: list[Listener] = []

    def listen(self) -> Listener:
        """Return a listener, as a gateway's process would have it."""
        listener = configured(ALIAS).listen()
        self._listeners.append(listener)
        return listener

    def listening(self) -> Listener:
        """Return a listener that listens."""
        listener = self.listen()
        settle(listener)
        return listener

    def ring(self) -> None:
        self.wakeup.ring()

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self.wakeup.close()


class PollSide(Side):
    hears = False


class SQLiteSide(Side):
    """A commit is a ring, so a bystander's connection rings."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("create table if not exists rings (ring integer)")

    def ring(self) -> None:
        self._connection.execute("insert into rings values (1)")

    def close(self) -> None:
        super().close()
        self._connection.close()


class ServerSide(Side, ABC):
    has_server = True
    garbage: tuple[bytes, ...]

    @abstractmethod
    def forge(self, payload: bytes) -> None:
        """Ring as anybody could who reaches the server."""

    @abstractmethod
    def overhear(self) -> AbstractContextManager[Callable[[], bytes]]:
        """Return a way to get the next payload, of those that are sent from now on."""

    @abstractmethod
    def cut(self) -> None:
        """End all listening connections from the server's side."""

    @abstractmethod
    def connected(self) -> int:
        """Count the connections of wakeups."""

    @abstractmethod
    def stop(self) -> None: ...

    @abstractmethod
    def start(self) -> None: ...

    @abstractmethod
    def freeze(self) -> None:
        """Let everything stay connected and hear nothing."""

    @abstractmethod
    def thaw(self) -> None: ...


class PostgresSide(ServerSide):
    # A NOTIFY carries less than 8,000 bytes of valid text.
    garbage = (b"", b" ", b"x" * 7_999, "\U0001f514".encode(), b"'; drop table users; --", b"0" * 32)

    def __init__(self, server: Postgres) -> None:
        super().__init__()
        self._server = server
        self._database = str(connections.settings[ALIAS]["NAME"])
        self._frozen: list[int] = []

    def forge(self, payload: bytes) -> None:
        with psycopg.connect(self._server.address(self._database), autocommit=True) as connection:
            connection.execute("select pg_notify('taskbell', %s)", [payload.decode()])

    @contextmanager
    def overhear(self) -> Iterator[Callable[[], bytes]]:
        with psycopg.connect(self._server.address(self._database), autocommit=True) as connection:
            connection.execute("listen taskbell")
            with closing(connection.notifies(timeout=SOON)) as rings:
                yield lambda: next(rings).payload.encode()  # noqa: PLW0108  each call asks for the next one

    def cut(self) -> None:
        assert self._ask("select count(pg_terminate_backend(pid)) from {ours} and query like 'listen%'") > 0

    def connected(self) -> int:
        return self._ask("select count(*) from {ours}")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()

    def freeze(self) -> None:
        assert self._server.process is not None
        sessions = self._server.execute(f"select pid from {_OURS}")
        self._frozen = [self._server.process.pid, *(pid for (pid,) in sessions)]
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._frozen = []

    def close(self) -> None:
        self.thaw()
        if self._server.process is None or not self._server.process.alive:
            self._server.start()
        super().close()

    def _ask(self, query: str) -> int:
        return int(self._server.execute(query.format(ours=_OURS))[0][0])

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._frozen:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


_OURS = "pg_stat_activity where application_name = 'taskbell wakeup'"


class RedisSide(ServerSide):
    garbage = (b"", b"\0", b"\xff\xfe\r\n", b"*3\r\n$7\r\n", b"x" * 1_000_000, b"\x80\x04\x95.", b"0" * 32)

    def __init__(self, server: Valkey) -> None:
        super().__init__()
        self._server = server
        self._channel = channel_of(ALIAS)

    def forge(self, payload: bytes) -> None:
        with self._bystander() as client:
            client.publish(self._channel, payload)

    @contextmanager
    def overhear(self) -> Iterator[Callable[[], bytes]]:
        with self._bystander() as client, client.pubsub() as pubsub:
            pubsub.subscribe(self._channel)
            assert pubsub.get_message(timeout=SOON)["type"] == "subscribe"
            yield lambda: pubsub.get_message(timeout=SOON)["data"]

    def cut(self) -> None:
        with self._bystander() as client:
            assert client.execute_command("CLIENT", "KILL", "TYPE", "pubsub") > 0

    def flush(self) -> None:
        with self._bystander() as client:
            client.flushall()

    def connected(self) -> int:
        with self._bystander() as client:
            return sum(one["name"] != "bystander" for one in client.client_list())

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()

    def freeze(self) -> None:
        self._server.pause()

    def thaw(self) -> None:
        self._server.resume()

    def close(self) -> None:
        self._server.restore()
        super().close()

    def _bystander(self) -> redis.Redis:
        return redis.Redis(port=self._server.port, client_name="bystander")
