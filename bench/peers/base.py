"""What the measures need of a peer."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import ClassVar, Final

from bench.rig.processes import SERVER_CORE, Process
from bench.rig.servers import HOST

START_S: Final = 20.0


class Missing(Exception):
    """This machine does not have the peer; the message says how to get it."""


class Peer(Process):
    """A server in a folder of its own, on the core of what is measured, with everything it starts.

    Streams are opened at `path`. One event leaves with a POST of `body` to `publish_to` (port and path), where STAMP
    in the body stands for the payload.
    """

    title: ClassVar[str]
    port: int
    path: str
    publish_to: tuple[int, str]
    body: str = "STAMP"
    # Handshakes that it takes at once without refusing some.
    in_flight: int = 256

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskbell-bench-peer-"))
        try:
            super().__init__(self.title, self.command(), core=SERVER_CORE, env=self.environment())
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        try:
            self._await_stream()
        except BaseException:
            self.stop()
            raise

    def command(self) -> Sequence[str | Path]:
        """Write what it needs into its folder and return what to run, or raise `Missing`."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return what is added to the environment."""
        return {}

    def stop(self) -> None:
        """End it and remove its folder."""
        super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _await_stream(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self.alive:
            with closing(HTTPConnection(HOST, self.port, timeout=5)) as connection, suppress(OSError, HTTPException):
                connection.request("GET", self.path, headers={"Accept": "text/event-stream"})
                if connection.getresponse().status == HTTPStatus.OK:
                    return
            time.sleep(0.05)
        raise self._failure(f"gave no stream within {START_S:g} s")
