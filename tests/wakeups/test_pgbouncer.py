"""LISTEN and prepared looks through a real PgBouncer, where the machine has one: no Python package brings it."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_django import DjangoDbBlocker

from taskbell.store.prepared import Prepared
from taskbell.wakeups import configured
from tests.servers.postgres import Postgres
from tests.servers.process import Process, free_port
from tests.wakeups.sides import ALIAS, SOON, database, eventually, settle

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer: not installed (apt-get install pgbouncer)")

Pooled = Callable[[str], dict[str, Any]]


@pytest.fixture
def pooled(postgres: Postgres, tmp_path: Path) -> Iterator[Pooled]:
    """`pooled("transaction")` returns settings for a new database behind a pooler in that mode."""
    bouncers: list[Process] = []

    def start(mode: str) -> dict[str, Any]:
        settings, port = postgres.create_database(), free_port()
        file = postgres.folder / f"bouncer-{port}.ini"
        file.write_text(
            f"[databases]\n* = host={postgres.folder} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )
        bouncer = Process([str(PROGRAM), str(file)], user=postgres.user, log=tmp_path / "log", cwd=tmp_path.anchor)
        bouncers.append(bouncer)
        bouncer.wait_until(lambda: _answers(port), what="answering")
        return settings | {"HOST": "127.0.0.1", "PORT": str(port)}

    yield start
    for bouncer in bouncers:
        bouncer.destroy()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def listening(settings: dict[str, Any]) -> Iterator[Any]:
    with database(settings):
        listener = configured(ALIAS).listen()
        try:
            yield listener
        finally:
            listener.close()


def test_transaction_mode_is_noticed_and_told_once(pooled: Pooled, caplog: pytest.LogCaptureFixture) -> None:
    with listening(pooled("transaction")) as listener:
        assert eventually(lambda: "its own probe was not heard" in listener.reason)
        assert not listener.wait(1)
        assert "PgBouncer in transaction mode" in listener.reason
    assert len(caplog.records) == 1


def test_session_mode_is_heard(pooled: Pooled) -> None:
    with listening(pooled("session")) as listener:
        settle(listener)
        wakeup = configured(ALIAS)
        wakeup.ring()
        wakeup.close()
        assert listener.wait(SOON)


def test_a_look_is_answered_by_whatever_session(pooled: Pooled, django_db_blocker: DjangoDbBlocker) -> None:
    settings = pooled("transaction")
    look = Prepared("select %s::int + 1")
    with django_db_blocker.unblock(), database(settings):
        assert look.ask(ALIAS, [1]) == [(2,)]
        address = {"host": settings["HOST"], "port": settings["PORT"], "dbname": settings["NAME"], "user": "postgres"}
        with psycopg.connect(**address, prepare_threshold=None) as other:
            # In this transaction the only session that knows the look is another client's.
            assert other.execute("select name from pg_prepared_statements").fetchall() == [(look.name,)]
            assert look.ask(ALIAS, [1]) == [(2,)]
        for number in range(5):
            assert look.ask(ALIAS, [number]) == [(number + 1,)]
