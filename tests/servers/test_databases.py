"""The servers that the other tests stand on."""

import os
import socket
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection

from tests.databases import settings_of
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey


def test_a_sqlite_address_is_a_path() -> None:
    settings = settings_of("/tmp/a.sqlite3")
    assert settings["NAME"] == "/tmp/a.sqlite3"
    assert settings["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_a_postgres_address_is_a_uri() -> None:
    settings = settings_of("postgresql://me:secret@/mine?host=/tmp/x&port=6000")
    assert settings["ENGINE"] == "django.db.backends.postgresql"
    wanted = {"NAME": "mine", "USER": "me", "PASSWORD": "secret", "HOST": "/tmp/x", "PORT": "6000"}
    assert wanted.items() <= settings.items()


def test_each_fresh_database_is_another_one(postgres: Postgres) -> None:
    first, second = postgres.create_database(), postgres.create_database()
    assert first["NAME"] != second["NAME"]
    assert first["HOST"] == second["HOST"]


def test_a_fresh_database_copies_its_template(postgres: Postgres) -> None:
    template = str(postgres.create_database()["NAME"])
    postgres.execute("create table stone (weight int)", template)
    with psycopg.connect(postgres.fresh(template)) as connection:
        assert connection.execute("select count(*) from stone").fetchall() == [(0,)]


def test_a_dropped_database_throws_everyone_out(postgres: Postgres) -> None:
    address = postgres.fresh()
    with psycopg.connect(address) as connection:
        postgres.drop(address)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")


@pytest.mark.contract
@pytest.mark.django_db(transaction=True)
def test_tests_run_on_the_database_that_the_environment_names() -> None:
    named = os.environ.get("TASKBELL_TEST_DATABASE", "")
    assert connection.vendor == ("postgresql" if named.startswith("postgresql://") else "sqlite")
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            assert cursor.execute("pragma journal_mode").fetchone() == ("wal",)


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    server = Postgres(max_connections="20").start()
    yield server
    server.remove()


@pytest.mark.proof
def test_what_was_committed_survives_a_killed_server(own_postgres: Postgres) -> None:
    own_postgres.execute("create table stone (weight int)")
    own_postgres.execute("insert into stone values (7)")
    own_postgres.kill()
    with pytest.raises(psycopg.OperationalError):
        own_postgres.execute("select 1")
    own_postgres.start()
    assert own_postgres.execute("select weight from stone") == [(7,)]
    assert own_postgres.execute("show max_connections") == [("20",)]


def ping(valkey: Valkey) -> bytes:
    with socket.create_connection(("127.0.0.1", valkey.port), timeout=0.5) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16)


def test_valkey_keeps_its_port(valkey: Valkey) -> None:
    valkey.stop()
    with pytest.raises(ConnectionRefusedError):
        ping(valkey)
    valkey.start()
    assert ping(valkey) == b"+PONG\r\n"


def test_a_paused_valkey_accepts_and_says_nothing(valkey: Valkey) -> None:
    valkey.pause()
    with pytest.raises(TimeoutError):
        ping(valkey)
    valkey.resume()
    assert ping(valkey) == b"+PONG\r\n"
