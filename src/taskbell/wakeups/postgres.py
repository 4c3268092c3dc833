from selectors import EVENT_READ, DefaultSelector
from time import monotonic
from typing import Any, Final

import psycopg
from django.db import connections
from psycopg.pq import ExecStatus

from taskbell.exceptions import WakeupUnavailable
from taskbell.wakeups.server import ANSWER_TIME, ServerWakeup

# Heard by everyone in the same database, whatever schema their tables are in; a ring too many costs a look.
CHANNEL: Final = "taskbell"
# libpq knows nothing shorter.
CONNECT_TIME: Final = 2


class Postgres(ServerWakeup):
    """LISTEN and NOTIFY, each on a connection of its own, with Django's settings for the alias."""

    name = "PostgreSQL"
    hint = (
        "A pooler that gives each transaction another session (PgBouncer in transaction mode) breaks LISTEN. "
        "Point WAKEUP to a Redis or Valkey, or the alias past the pooler."
    )

    def open_sender(self) -> "_Sender":
        return _Sender(_connect(self.alias))

    def open_receiver(self) -> "_Receiver":
        return _Receiver(_connect(self.alias))


class _Sender:
    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection

    def send(self, payload: bytes) -> None:
        _run(self._connection, b"select pg_notify($1, $2)", CHANNEL.encode(), payload)

    def close(self) -> None:
        self._connection.close()


class _Receiver:
    def __init__(self, connection: "_Connection") -> None:
        self._connection = connection

    def subscribe(self) -> None:
        _run(self._connection, f"listen {CHANNEL}".encode())

    def receive(self, timeout: float) -> list[bytes]:
        try:
            return [ring.payload.encode() for ring in self._connection.notifies(timeout=timeout, stop_after=1)]
        except psycopg.Error as error:
            raise WakeupUnavailable(_said(error)) from error

    def close(self) -> None:
        self._connection.close()


_Connection = psycopg.Connection[tuple[Any, ...]]


def _connect(alias: str) -> _Connection:
    # A wrapper of its own: the project's connections are never touched, and no thread's count is raised.
    params = connections.create_connection(alias).get_connection_params()
    params |= {"connect_timeout": CONNECT_TIME, "fallback_application_name": "taskbell wakeup"}
    try:
        return psycopg.connect(**params, autocommit=True)
    except psycopg.Error as error:
        raise WakeupUnavailable(_said(error)) from error


def _run(connection: _Connection, statement: bytes, *values: bytes) -> None:
    """Run a statement, or raise after ANSWER_TIME.

    By libpq's own calls: `execute` waits for ever on a server that took the question and froze,
    and a `statement_timeout` is kept by that server.
    """
    try:
        connection.pgconn.send_query_params(statement, list(values))
        connection.pgconn.flush()
        _await_done(connection)
    except psycopg.Error as error:
        raise WakeupUnavailable(_said(error)) from error


def _await_done(connection: _Connection) -> None:
    deadline = monotonic() + ANSWER_TIME
    # No select(): it knows no descriptor over 1,023, and a gateway has thousands.
    with DefaultSelector() as selector:
        selector.register(connection.fileno(), EVENT_READ)
        while not _is_done(connection.pgconn):
            if not selector.select(max(0.0, deadline - monotonic())):
                raise WakeupUnavailable(f"no answer within {ANSWER_TIME:g} s")


def _is_done(pgconn: psycopg.pq.abc.PGconn) -> bool:
    pgconn.consume_input()
    while not pgconn.is_busy():
        result = pgconn.get_result()
        if result is None:
            return True
        if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
            raise psycopg.OperationalError(result.error_message.decode(errors="replace"))
    return False


def _said(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or error.__class__.__name__
