"""A whole project in real processes: a folder, a migrated database, and what runs around it."""

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.db import connections
from django.test import Client

from tests.databases import settings_of
from tests.servers.postgres import Postgres
from tests.servers.process import Process, free_port
from tests.servers.sse import Stream

ROOT = Path(__file__).parents[2]


def environment(address: str, **taskbell: Any) -> dict[str, str]:
    """Return what a subprocess needs to be the tests' project on the database at `address`."""
    # Development mode is for the tests themselves: asyncio's debug mode would be most of what a gateway does.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONDEVMODE"))}
    return inherited | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "TASKBELL_TEST_DATABASE": address,
        # This machine may allow fewer open files than a gateway of the default size needs, and `serve` would say so.
        "TASKBELL_JSON": json.dumps({"STREAMS_PER_PROCESS": 3_000} | taskbell),
        "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]),
        "PYTHONUNBUFFERED": "1",
    }


class Templates:
    """Migrating takes a second; copying a migrated database does not."""

    def __init__(self, folder: Path, postgres: Callable[[], Postgres]) -> None:
        self._sqlite = folder / "template.sqlite3"
        self._postgres = postgres
        self._template = ""

    def copy(self, database: str, folder: Path) -> str:
        """Return the address of a migrated database, SQLite's in `folder`."""
        if database == "sqlite":
            return self._copy_sqlite(folder / "db.sqlite3")
        if database == "postgres":
            return self._copy_postgres(self._postgres())
        raise ValueError(f"a database is 'sqlite' or 'postgres', not {database!r}")

    def _copy_sqlite(self, path: Path) -> str:
        if not self._sqlite.exists():
            migrate(str(self._sqlite))
        # The last connection of `migrate` moved everything from the write-ahead log into the file.
        shutil.copyfile(self._sqlite, path)
        return str(path)

    def _copy_postgres(self, server: Postgres) -> str:
        if not self._template:
            address = server.fresh()
            migrate(address)
            self._template = str(settings_of(address)["NAME"])
        return server.fresh(template=self._template)

    def drop(self, address: str) -> None:
        if address.startswith("postgresql://"):
            self._postgres().drop(address)


def migrate(address: str) -> None:
    argv = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
    subprocess.run(argv, check=True, env=environment(address), cwd=ROOT)


class Gateway(Process):
    """A server of event streams on 127.0.0.1."""

    def __init__(self, argv: list[str], *, port: int, **options: Any) -> None:
        self.port = port
        super().__init__(argv, **options)

    def stream(self, path: str = "/events/", **options: Any) -> Stream:
        """Open a stream; the options are those of `Stream`."""
        return Stream(self.port, path, **options)

    def status(self, path: str) -> int:
        """Return the status of a GET, 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0


class Project:
    """Processes inherit `env`; what is changed there or by `configure()` holds for those started afterwards."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self.address = address
        self.env = environment(address)
        self.processes: list[Process] = []
        self._logs = count(1)
        self._before: tuple[Any, Any] | None = None

    def configure(self, **taskbell: Any) -> None:
        """Set keys of `TASKBELL` for the processes that are started afterwards."""
        self.env["TASKBELL_JSON"] = json.dumps(json.loads(self.env["TASKBELL_JSON"]) | taskbell)

    def run(self, *argv: str, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `python -m django …` to its end and return what it printed; the options are those of `subprocess.run`."""
        command = [sys.executable, "-m", "django", *argv]
        place: dict[str, Any] = {"env": self.env, "cwd": self.folder, "capture_output": True}
        return subprocess.run(command, timeout=timeout, check=False, text=True, **(place | options))

    def popen(self, *argv: str, **options: Any) -> Process:
        """Start `python -m django …`; the options are those of `Popen`, without any it prints into its `.output()`."""
        return self.python("-m", "django", *argv, **options)

    def python(self, *argv: str, **options: Any) -> Process:
        """Start a Python program of the project."""
        place: dict[str, Any] = {"env": self.env, "cwd": self.folder}
        if "stdout" not in options:
            place["log"] = self._log()
        process = Process([sys.executable, *argv], **(place | options))
        self.processes.append(process)
        return process

    def serve(self, *options: str, port: int | None = None) -> Gateway:
        """Start `manage.py taskbell serve` and return when it is ready."""
        port = port or free_port()
        gateway = self._gateway(port, "-m", "django", "taskbell", "serve", "--port", str(port), *options)
        gateway.wait_until(lambda: gateway.status("/readyz") == 200, what="ready")
        return gateway

    def uvicorn(self, *options: str, port: int | None = None) -> Gateway:
        """Start the whole project under uvicorn's own command and return when it answers.

        For the detached streams of production: `"--http", "taskbell.gateway.server:StreamProtocol"`.
        """
        port = port or free_port()
        gateway = self._gateway(port, "-m", "uvicorn", "tests.asgi:application", "--port", str(port), *options)
        gateway.wait_until(lambda: gateway.status("/") != 0, what="answering")
        return gateway

    def server(self, *argv: str) -> Gateway:
        """Start the whole project under `python -m …`, in which PORT stands for the port; return when it answers."""
        port = free_port()
        gateway = self._gateway(port, "-m", *(word.replace("PORT", str(port)) for word in argv))
        gateway.wait_until(lambda: gateway.status("/") != 0, what="answering")
        return gateway

    def _gateway(self, port: int, *argv: str) -> Gateway:
        gateway = Gateway([sys.executable, *argv], port=port, env=self.env, cwd=self.folder, log=self._log())
        self.processes.append(gateway)
        return gateway

    def _log(self) -> Path:
        return self.folder / f"process-{next(self._logs)}.log"

    def person(self, username: str) -> User:
        """Return the user of that name, created at the first time."""
        user, _ = User.objects.get_or_create(username=username)
        return user

    def sign_in(self, user: User) -> str:
        """Sign a user in as the browser of one more session, and return its cookie header."""
        client = Client()
        client.force_login(user)
        return f"sessionid={client.cookies['sessionid'].value}"

    def attach(self) -> None:
        """Let this very process, and the threads it starts from now on, work on the project's database."""
        assert self._before is None
        self._before = connections.settings["default"], connections["default"]
        settings = connections.configure_settings({"default": settings_of(self.address)})
        connections.settings["default"] = settings["default"]
        connections["default"] = connections.create_connection("default")

    def detach(self) -> None:
        if self._before is not None:
            connections["default"].close()
            connections.settings["default"], connections["default"] = self._before
            self._before = None

    def remove(self) -> None:
        """End every process that was started here, by its own id, and let go of the database."""
        for process in self.processes:
            process.destroy()
        self.detach()
