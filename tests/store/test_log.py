"""History that was put back from a copy, as an operator does it: real files, real databases."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.db import OperationalError, connections

from taskbell import publish
from taskbell.ground.cursor import Cursor
from taskbell.models import Log
from taskbell.store import connection as module
from taskbell.store.connection import SameFile, adopt
from taskbell.store.head import create_head
from taskbell.store.log import Lost, place_of_head, read_after
from taskbell.store.tick import Moved, Ticker
from tests.servers.postgres import Postgres
from tests.servers.project import Project

ALIAS = "default"


def number(ticker: Ticker, count: int) -> Cursor:
    """Publish and tick so many times; return the newest place."""
    for _ in range(count):
        publish("public:news", "message", 1)
        assert isinstance(ticker.tick(), Moved)
    place = place_of_head(ALIAS)
    assert place
    return place


def verdict(place: Cursor) -> str | list[int]:
    page = read_after(place, ALIAS)
    assert page is not None
    return page.reason if isinstance(page, Lost) else [row.seq for row in page.rows]


def rewritten_until_the_numbers_have_grown_again(ticker: Ticker, kept: Cursor, lost: Cursor) -> None:
    """Of the copy are the numbers to 3, a reader stands at 5."""
    assert verdict(lost) == "rewritten"
    assert number(ticker, 2).seq == lost.seq
    assert verdict(lost) == "rewritten", "the same number, another event"
    assert number(ticker, 2).seq == lost.seq + 2
    assert verdict(lost) == "rewritten"
    assert verdict(kept) == [4, 5, 6, 7]
    assert list(Log.objects.order_by("seq").values_list("seq", flat=True)) == [1, 2, 3, 4, 5, 6, 7]


def test_a_sqlite_file_put_back(project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0)
    path = Path(project("sqlite").address)
    copy = path.with_name("copy.sqlite3")
    create_head(ALIAS)
    ticker, file = Ticker(ALIAS), SameFile(ALIAS)
    kept = number(ticker, 3)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    lost = number(ticker, 2)
    assert verdict(kept) == [4, 5]
    assert file.still()
    for name in ("-wal", "-shm"):
        Path(f"{path}{name}").unlink(missing_ok=True)
    shutil.move(copy, path)
    assert not file.still()
    assert file.still(), "told once"
    # The gateway's answer to a new file: another connection, another ticker.
    connections[ALIAS].close()
    adopt(ALIAS)
    rewritten_until_the_numbers_have_grown_again(Ticker(ALIAS), kept, lost)


@pytest.mark.proof
def test_a_postgresql_database_put_back(project: Callable[[str], Project], postgres: Postgres) -> None:
    """The very same ticker goes on, on a new connection: a failed tick has it forget what it knew."""
    address = project("postgres").address
    name = connections[ALIAS].settings_dict["NAME"]
    create_head(ALIAS)
    ticker = Ticker(ALIAS)
    kept = number(ticker, 3)
    connections[ALIAS].close()
    postgres.execute(f"create database {name}_copy template {name}")
    lost = number(ticker, 2)
    assert verdict(kept) == [4, 5]
    postgres.drop(address)
    postgres.execute(f"alter database {name}_copy rename to {name}")
    with pytest.raises(OperationalError):
        ticker.tick()
    connections[ALIAS].close()
    rewritten_until_the_numbers_have_grown_again(ticker, kept, lost)
