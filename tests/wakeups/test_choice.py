import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

import taskbell.wakeups
from taskbell.wakeups import configured, kind, must_ring
from tests.databases import sqlite
from tests.wakeups.sides import ALIAS, database, wakeup

ENGINES = {
    "sqlite": sqlite("file"),
    "postgresql": {"ENGINE": "django.db.backends.postgresql", "NAME": "any"},
}
Choosing = Callable[[str, Any], None]


@pytest.fixture
def choosing() -> Iterator[Choosing]:
    """`choosing(vendor, choice)` sets the database and `WAKEUP`."""
    with ExitStack() as stack:

        def choose(vendor: str, choice: Any) -> None:
            stack.enter_context(database(ENGINES[vendor]))
            stack.enter_context(wakeup(choice))

        yield choose


@pytest.mark.parametrize(
    ("vendor", "choice", "expected", "rings"),
    [
        ("sqlite", "auto", "SQLite", False),
        ("postgresql", "auto", "Postgres", True),
        ("sqlite", "poll", "Poll", False),
        ("postgresql", "poll", "Poll", False),
        ("postgresql", "postgres", "Postgres", True),
        ("sqlite", "redis://localhost:6379/0", "Redis", True),
        ("postgresql", "rediss://user:secret@localhost", "Redis", True),
        ("sqlite", "unix:///run/redis.sock", "Redis", True),
    ],
)
def test_the_setting_chooses(choosing: Choosing, vendor: str, choice: str, expected: str, rings: bool) -> None:
    choosing(vendor, choice)
    assert configured(ALIAS).__class__.__name__ == expected
    assert must_ring(ALIAS) is rings


def test_other_databases_poll(choosing: Choosing, monkeypatch: pytest.MonkeyPatch) -> None:
    choosing("sqlite", "auto")
    monkeypatch.setattr(connections[ALIAS], "vendor", "mysql")
    assert kind(ALIAS) == "poll"


@pytest.mark.parametrize(
    "choice", ["", "AUTO", "redis", "redis:/host", "http://localhost", "memcached://localhost", None, 1, ["poll"]]
)
def test_anything_else_is_an_error_that_says_what_to_write(choosing: Choosing, choice: Any) -> None:
    choosing("sqlite", choice)
    with pytest.raises(ImproperlyConfigured, match="'redis://localhost:6379/0'"):
        configured(ALIAS)


def test_an_error_repeats_no_password(choosing: Choosing) -> None:
    choosing("sqlite", "redis:/:secret@localhost")
    with pytest.raises(ImproperlyConfigured) as caught:
        configured(ALIAS)
    assert "secret" not in str(caught.value)


def test_listen_wants_postgresql(choosing: Choosing) -> None:
    choosing("sqlite", "postgres")
    with pytest.raises(ImproperlyConfigured, match="'rung' is sqlite"):
        configured(ALIAS)


@pytest.mark.parametrize(("choice", "extra"), [("postgres", "postgres"), ("redis://localhost", "redis")])
def test_what_is_not_installed_is_named(
    choosing: Choosing, monkeypatch: pytest.MonkeyPatch, choice: str, extra: str
) -> None:
    choosing("postgresql", choice)
    monkeypatch.setattr(taskbell.wakeups, "find_spec", lambda module: None)
    with pytest.raises(ImproperlyConfigured, match=rf"pip install 'taskbell\[{extra}\]'"):
        configured(ALIAS)


def test_a_project_on_psycopg_2_polls(choosing: Choosing, monkeypatch: pytest.MonkeyPatch) -> None:
    choosing("postgresql", "auto")
    monkeypatch.setattr(taskbell.wakeups, "find_spec", lambda module: None)
    assert kind(ALIAS) == "poll"


def test_nothing_is_imported_that_was_not_chosen() -> None:
    program = (
        "import sys, taskbell.wakeups.bell, taskbell.wakeups.poll, taskbell.wakeups.sqlite, taskbell.wakeups.ear;"
        "sys.exit(', '.join({'redis', 'psycopg', 'uvicorn', 'celery'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).stderr.strip() == b""
