import gc
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from taskbell.wakeups import configured
from tests.databases import sqlite
from tests.wakeups.sides import ALIAS, QUIET, database, settle, wakeup


# Django drops a connection whose `init_command` failed without closing it.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_a_file_that_cannot_be_read_is_told_and_watched_again(
    tmp_path: Path, django_db_blocker: DjangoDbBlocker
) -> None:
    path = tmp_path / "file"
    settings = sqlite(str(path))
    settings["OPTIONS"] |= {"timeout": 0.02, "init_command": "PRAGMA journal_mode=DELETE"}
    with (
        django_db_blocker.unblock(),
        database(settings),
        wakeup("auto"),
        closing(sqlite3.connect(path, isolation_level=None)) as writer,
        closing(configured(ALIAS).listen()) as listener,
    ):
        settle(listener)
        writer.execute("begin exclusive")
        assert not listener.wait(QUIET)
        assert listener.reason == "SQLite: database is locked"
        # Nor can a connection be made now: `init_command` would wait too.
        connections[ALIAS].close()
        assert not listener.wait(QUIET)
        writer.execute("rollback")
        settle(listener)
        gc.collect()  # here, where that is expected, and not in whichever test comes next
