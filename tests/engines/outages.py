"""Databases that do not answer for a while: locked, frozen, or cutting connections."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil

from tests.databases import settings_of
from tests.servers.postgres import Postgres


@contextmanager
def locked(address: str) -> Iterator[None]:
    """Hold the one write lock of the SQLite file at `address`; reading goes on."""
    with closing(sqlite3.connect(address, isolation_level=None, timeout=30)) as holder:
        holder.execute("begin immediate")
        yield
        holder.execute("rollback")


@contextmanager
def frozen(postgres: Postgres) -> Iterator[None]:
    """Stop every process of the server: connections stay open, and nothing is answered."""
    assert postgres.process is not None
    main = psutil.Process(postgres.process.pid)
    servers = [main, *main.children(recursive=True)]
    for server in servers:
        server.suspend()
    try:
        yield
    finally:
        for server in servers:
            server.resume()


def cut_connections(postgres: Postgres, address: str, seconds: float) -> int:
    """End every session of the database at `address` again and again, as a pooler that restarts; return how many."""
    name = settings_of(address)["NAME"]
    cut, stop_at = 0, time.monotonic() + seconds
    while time.monotonic() < stop_at:
        cut += len(postgres.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'"))
        time.sleep(0.3)
    return cut
