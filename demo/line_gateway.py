"""A gateway in a process of its own, and a reader of its stream that keeps its place."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Lock
from typing import Final

BANNER: Final = re.compile(r"http://([\d.]+):(\d+)(/\S*)")
# A process that ends before its banner this often in a row will never start; what it printed says why.
TRIES: Final = 3
# While a gateway starts or drains it refuses; asking again costs nothing.
PAUSE_SECONDS: Final = 0.1
STOP_SECONDS: Final = 10.0


class CannotStart(Exception):
    """The gateway ends as soon as it is started; the lines above say why."""


class Gateway:
    """`manage.py taskbell serve` on any free port, started again when it died. `say` is told of every start."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.stopped = False
        self._say = say
        self._lock = Lock()
        self._process: subprocess.Popen[str] | None = None
        self._address: tuple[str, int, str] | None = None

    def open(self, channel: str, cursor: str) -> HTTPResponse:
        """Open a stream of `channel` after `cursor`; raises `OSError` or `HTTPException` where nobody answers."""
        self._ensure()
        if self._address is None:
            raise ConnectionError("stopped")
        host, port, prefix = self._address
        connection = HTTPConnection(host, port)
        connection.request("GET", f"{prefix}{channel}/", headers={"Last-Event-ID": cursor} if cursor else {})
        response = connection.getresponse()
        if response.status != 200:
            connection.close()
            raise HTTPException(f"status {response.status}")
        return response

    def stop(self) -> None:
        """End the process for good."""
        with self._lock:
            self.stopped = True
        if self._process is None:
            return
        # Leaving it closes its pipe and waits.
        with self._process as process:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()

    def _ensure(self) -> None:
        for _ in range(TRIES):
            if self.stopped or (self._process is not None and self._process.poll() is None):
                return
            self._start()
            if self._address is not None:
                return
        raise CannotStart(CannotStart.__doc__)

    def _start(self) -> None:
        with self._lock:
            if self.stopped:
                return
            if self._process is not None and self._process.stdout is not None:
                self._process.stdout.close()
            # A session of its own: Ctrl-C is for us, and we stop the gateway.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "django", "taskbell", "serve", "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        # What it has to say about this machine comes before.
        found = next(filter(None, map(BANNER.search, self._process.stdout)), None)
        self._address = (found[1], int(found[2]), found[3]) if found else None
        if found:
            self._say(f"gateway {self._process.pid} serves {found[0]}")


def read(gateway: Gateway, channel: str) -> Iterator[bytes]:
    """Yield the frames of a channel, pings too; whatever breaks, it goes on after the last whole frame."""
    cursor = ""
    while not gateway.stopped:
        try:
            with gateway.open(channel, cursor) as response:
                for frame in frames(response):
                    cursor = field(frame, "id") or cursor
                    yield frame
        except (OSError, HTTPException):
            time.sleep(PAUSE_SECONDS)


def frames(response: HTTPResponse) -> Iterator[bytes]:
    """Yield whole frames. One that was cut comes again."""
    frame = b""
    for line in response:
        frame += line
        if line == b"\n":
            yield frame
            frame = b""


def field(frame: bytes, name: str) -> str:
    """Return a field of a frame, empty if it is not there."""
    found = re.search(rf"^{name}: (.*)$", frame.decode(), re.MULTILINE)
    return found[1] if found else ""
