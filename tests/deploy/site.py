"""A site as `deploy/` runs it: its very files, with folders and ports of our own."""

import configparser
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar
from itertools import count
from pathlib import Path
from typing import Any

from tests.databases import settings_of
from tests.deploy.diffs import move
from tests.markdown import ROOT
from tests.servers.nginx import Nginx
from tests.servers.process import Process, free_port
from tests.servers.sse import Cut, Ended, Event, Stream

DEPLOY = ROOT / "deploy"
BEFORE = Path(__file__).with_name("before")
PUBLISHER = Path(__file__).with_name("publisher.py")
PASSWORD = "secret"
# Compression is on for everything else, so that a stream which is not compressed owes it to the site's own file.
COMPRESSING = "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1;"


class Unit(configparser.RawConfigParser):
    """A systemd unit."""

    def __init__(self, text: str) -> None:
        super().__init__(comment_prefixes=("#",), strict=True)
        self.read_string(text)

    def optionxform(self, optionstr: str) -> str:
        return optionstr

    @property
    def service(self) -> configparser.SectionProxy:
        return self["Service"]

    @property
    def environment(self) -> dict[str, str]:
        """Return what a process of this unit finds: next to nothing but what the unit names."""
        # Where the tests' own packages are, and a home that does not exist, as a system user's.
        given = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
        given |= {name: os.environ[name] for name in ("PYTHONPATH", "CI") if name in os.environ}
        lines = [self.service.get("Environment", ""), *Path(self.service["EnvironmentFile"]).read_text().splitlines()]
        return given | dict(line.split("=", 1) for line in lines if line)


class Site:
    """nginx, gunicorn, `taskbell serve` and a Celery worker around one database."""

    UNITS = ("web", "taskbell", "worker")

    def __init__(self, database: str, redis: str) -> None:
        # As root not $TMPDIR, which may lie where nginx's user cannot go.
        self.folder = Path(tempfile.mkdtemp(prefix="taskbell-site-", dir="/tmp" if os.geteuid() == 0 else None))
        self.folder.chmod(0o755)
        self.port, self.gateway_port = free_port(), free_port()
        self.processes: dict[str, Process] = {}
        self._logs = count(1)
        move(BEFORE, self.folder)
        (self.folder / "run").mkdir()
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / "env").write_text(_environment(database, redis))
        self.nginx = Nginx(self.render("nginx.conf"), COMPRESSING)

    def render(self, name: str) -> str:
        """Return a file of `deploy/` with the folders and ports of this site."""
        text = (DEPLOY / name).read_text()
        for written, ours in {
            "/srv/mysite": str(self.folder),
            "/run/mysite": str(self.folder / "run"),
            "/etc/mysite/env": str(self.folder / "env"),
            "127.0.0.1:8001": f"127.0.0.1:{self.gateway_port}",
            "--port 8001": f"--port {self.gateway_port}",
            "listen 80;": f"listen 127.0.0.1:{self.port};",
        }.items():
            text = text.replace(written, ours)
        return text

    def unit(self, name: str) -> Unit:
        return Unit(self.render(f"{name}.service"))

    def manage(self, *argv: str) -> None:
        """Run `manage.py` to its end, as somebody would before starting the units."""
        log = self._log()
        python = str(self.folder / ".venv" / "bin" / "python")
        process = Process([python, "manage.py", *argv], log=log, cwd=self.folder, env=self.unit("taskbell").environment)
        assert process.wait(60) == 0, process.output()

    def start(self, name: str) -> Process:
        """Do what systemd does with a unit, and return when it is of use."""
        unit = self.unit(name)
        process = Process(
            shlex.split(unit.service["ExecStart"]),
            log=self._log(),
            cwd=unit.service["WorkingDirectory"],
            env=unit.environment,
        )
        self.processes[name] = process
        process.wait_until(lambda: self._serves(name, process), what="serving")
        return process

    def stop(self, name: str) -> float:
        """Stop a unit as systemd does, and return the seconds it took; it must exit 0 in its time."""
        service, process = self.unit(name).service, self.processes[name]
        began = time.monotonic()
        process.send_signal(signal.Signals[service["KillSignal"]])
        assert process.wait(float(service["TimeoutStopSec"])) == 0, process.output()
        return time.monotonic() - began

    def _serves(self, name: str, process: Process) -> bool:
        if name == "web":
            return (self.folder / "run" / "web.sock").exists() and "Booting worker" in process.output()
        if name == "taskbell":
            return status(f"http://127.0.0.1:{self.gateway_port}/readyz") == 200
        return " ready." in process.output()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        """Return everything that the units have printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    @contextmanager
    def publishing(self, username: str, rate: float) -> Iterator["Publishing"]:
        """Publish to a person `rate` times a second, until the block ends."""
        argv = [str(self.folder / ".venv" / "bin" / "python"), str(PUBLISHER), username, str(rate)]
        environment = self.unit("taskbell").environment
        process = Process(argv, log=self._log(), cwd=self.folder, env=environment | _on_path(environment, self.folder))
        publishing = Publishing(process)
        try:
            yield publishing
        finally:
            process.stop()

    def remove(self) -> None:
        """End what was started here, and forget it."""
        self.nginx.remove()
        # Asked first, all at once: the children of one that is killed would have to be looked for.
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _log(self) -> Path:
        return self.folder / f"process-{next(self._logs)}.log"


def _environment(database: str, redis: str) -> str:
    settings = settings_of(database)
    written = {
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
        "SECRET_KEY": "known to everyone, and good for nothing but tests",
        "REDIS_URL": redis,
        "PGDATABASE": settings["NAME"],
        "PGHOST": settings["HOST"],
        "PGUSER": settings["USER"],
    }
    return "".join(f"{name}={value}\n" for name, value in written.items())


def _on_path(environment: dict[str, str], folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), environment.get("PYTHONPATH", "")]))}


def status(address: str, timeout: float = 5) -> int:
    """Return the status of a GET, 0 when nobody answers."""
    try:
        with urllib.request.urlopen(address, timeout=timeout) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


@dataclass(frozen=True)
class Publishing:
    process: Process

    @property
    def committed(self) -> list[int]:
        """Return the numbers whose commit has returned."""
        return [int(line) for line in self.process.output().split("\n")[:-1]]


class Person:
    """Somebody with a browser and one cookie jar, who knows the site by nginx's address alone."""

    def __init__(self, site: Site, username: str) -> None:
        self.site = site
        self.username = username
        self._cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def sign_in(self) -> "Person":
        _, form = self.ask("/sign-in/")
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        assert found, form
        fields = {"username": self.username, "password": PASSWORD, "csrfmiddlewaretoken": found[1]}
        answered, page = self.ask("/sign-in/", urllib.parse.urlencode(fields).encode())
        assert answered == 200, page
        assert "sessionid" in self.cookies, page
        return self

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        """Return status and text of a GET, or a POST if there is a body."""
        request = urllib.request.Request(self.site.address + path, body, headers)
        try:
            with self._opener.open(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def post(self, path: str, data: dict[str, Any], *, csrf: bool = True) -> tuple[int, Any]:
        """Return status and JSON of a POST."""
        headers = {"Content-Type": "application/json"} | ({"X-CSRFToken": self.cookies["csrftoken"]} if csrf else {})
        answered, text = self.ask(path, json.dumps(data).encode(), **headers)
        return answered, json.loads(text)

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.name: cookie.value or "" for cookie in self._cookies}

    def stream(self, path: str = "/events/", *, port: int = 0, **options: Any) -> Stream:
        """Open a stream by nginx, or at another port; the one cookie is the session's."""
        session = f"sessionid={self.cookies['sessionid']}"
        headers = {"Accept-Encoding": "gzip, br"}
        return Stream(port or self.site.port, path, cookie=session, headers=headers, **options)

    @contextmanager
    def following(self) -> Iterator["Follower"]:
        """Read the own stream, coming back whenever it ends, until the block ends."""
        follower = Follower(self)
        follower.start()
        try:
            yield follower
        finally:
            follower.end()


class Follower(threading.Thread):
    """A page: it resumes where it stopped, and notes what came when."""

    BACK_OFF = 0.1

    def __init__(self, person: Person) -> None:
        super().__init__(daemon=True)
        self.person = person
        self.streams = 0
        self.refusals: list[int] = []
        self.numbers: list[int] = []
        #: Seconds from before the commit to the event's arrival, event by event.
        self.lags: list[float] = []
        self.resets: list[Event] = []
        self._ending = threading.Event()
        self._error: BaseException | None = None
        self._last_event_id = ""

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._follow()
        except BaseException as error:  # noqa: BLE001  told by `end`, in the test's own thread
            self._error = error

    def _follow(self) -> None:
        try:
            with self.person.stream(last_event_id=self._last_event_id) as stream:
                if stream.status == 200:
                    self.streams += 1
                    self._read(stream)
                else:
                    self.refusals.append(stream.status)
        except Cut:
            pass
        self._ending.wait(self.BACK_OFF)

    def _read(self, stream: Stream) -> None:
        while not self._ending.is_set():
            try:
                event = stream.read(0.2)
            except TimeoutError:
                continue
            except Ended:
                return
            finally:
                self._last_event_id = stream.last_event_id or self._last_event_id
            if event.type == "message":
                self.lags.append(time.time() - event.json["at"])
                self.numbers.append(event.json["n"])
            elif event.type == "reset":
                self.resets.append(event)

    def wait_for(self, number: int, timeout: float = 20) -> None:
        """Wait until an event of at least this number has come."""
        deadline = time.monotonic() + timeout
        while not self.numbers or self.numbers[-1] < number:
            assert self._error is None, self._error
            assert time.monotonic() < deadline, f"{number} did not come; the last ones were {self.numbers[-3:]}"
            time.sleep(0.01)

    def end(self) -> None:
        self._ending.set()
        self.join(15)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


class Knocking(threading.Thread):
    """Asks for a stream and a page again and again, and notes status and seconds of each answer."""

    def __init__(self, person: Person) -> None:
        super().__init__(daemon=True)
        self.person = person
        self.streams: list[tuple[int, float]] = []
        self.pages: list[tuple[int, float]] = []
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(0.05):
            self.streams.append(_timed(self._stream))
            self.pages.append(_timed(lambda: self.person.ask("/sign-in/")[0]))

    def _stream(self) -> int:
        try:
            with self.person.stream() as stream:
                return stream.status
        except (Cut, TimeoutError):
            return 0

    def __enter__(self) -> "Knocking":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.join(30)


def _timed(call: Any) -> tuple[int, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began
