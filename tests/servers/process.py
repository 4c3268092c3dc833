"""Processes that tests start: on a leash, with a log, and gone by their own id."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil

LEASH = Path(__file__).with_name("leash.py")

# Below the range from which Linux takes the ports of outgoing connections (32768 and up): a port found free here
# cannot become the near end of some connection before its server has bound it.
_LOWEST, _HIGHEST = 20_000, 32_000


def _lane() -> range:
    """The ports that belong to this xdist worker alone, so that two of them never reach for the same one."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = 1_500
    start = _LOWEST + worker * width % (_HIGHEST - _LOWEST)
    return range(start, start + width)


# A random start, or the next run would meet connections of this one that still linger.
_ticket = count(random.randrange(10_000))


def free_port() -> int:
    """Return a TCP port on 127.0.0.1 that nobody listens on and that was not handed out just before."""
    lane = _lane()
    for _ in lane:
        port = lane[next(_ticket) % len(lane)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {lane.start} and {lane.stop}")


class Unavailable(Exception):
    """This machine cannot run the server: skip where a person works, fail in CI."""


class Process(subprocess.Popen[str]):
    """A `Popen` that dies with the tests; with `log`, everything it prints goes to that file."""

    def __init__(
        self,
        argv: list[str],
        *,
        log: Path | None = None,
        user: str = "",
        bond: signal.Signals = signal.SIGKILL,
        **options: Any,
    ) -> None:
        self.log = log
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(bond)), user]
        if log is None:
            super().__init__([*leash, *argv], text=True, **options)
            return
        with log.open("ab") as output:
            super().__init__([*leash, *argv], text=True, stdout=output, stderr=subprocess.STDOUT, **options)

    @property
    def alive(self) -> bool:
        return self.poll() is None

    def output(self) -> str:
        """Return what it has printed into its log."""
        return self.log.read_text(errors="replace") if self.log else ""

    def pause(self) -> None:
        """Freeze it: its sockets stay open, and nobody answers."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.send_signal(signal.SIGCONT)

    def stop(self, timeout: float = 30) -> int:
        """Ask it to end, and return its exit code; an AssertionError says that it did not end in time."""
        self.terminate()
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.destroy()
            raise AssertionError(f"still there {timeout} s after SIGTERM\n{self.output()}") from None

    def destroy(self) -> None:
        """Kill it and what it has started, frozen or not, wait until all is gone, and close the pipes that are left."""
        started = psutil.Process(self.pid).children(recursive=True) if self.alive else []
        self.kill()
        self.wait()
        for process in started:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout: float = 60) -> None:
        """Wait until `ready()`; an AssertionError with the log says that it died or took too long."""
        deadline = time.monotonic() + timeout
        while not ready():
            if not self.alive:
                raise AssertionError(f"ended with {self.returncode} before {what}\n{self.output()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not {what} after {timeout} s\n{self.output()}")
            time.sleep(0.02)
