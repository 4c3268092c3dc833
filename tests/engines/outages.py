"""Databases that do not answer for a while, workers that stand still, and what owners are told meanwhile."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psutil

from tests.databases import settings_of
from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.engines.worker import Worker
from tests.servers.postgres import Postgres

# Three times as long as a worker is given to show that it lives.
OUTAGE = 10


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


@contextmanager
def at_work(made: Stage, seconds: float) -> Iterator[None]:
    """Do something while a task runs, for `seconds` longer than that takes; its owner is told nothing but the truth."""
    task = made.ada.delay(tasks.sleep, seconds)
    made.ada.until(task, "running")
    yield
    told = made.ada.states(task, seconds + 30)
    assert told == ["running", "succeeded"], told


@contextmanager
def paused(worker: Worker) -> Iterator[None]:
    """Freeze a worker's whole tree."""
    tree = [psutil.Process(worker.process.pid), *worker.children()]
    for process in tree:
        process.suspend()
    try:
        yield
    finally:
        for process in tree:
            process.resume()
