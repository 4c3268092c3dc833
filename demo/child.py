"""One process of the demo, started again when it ends, and never left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from demo.place import ROOT, Trouble, near

# A process that ends by itself this soon, this often in a row, will never run; what it printed says why.
QUICK_SECONDS: Final = 5.0
QUICK_ENDS: Final = 3
TAIL_LINES: Final = 15
PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


class Child:
    """One of our processes: the leader of a group of its own, so that Ctrl-C is for us alone and none is forgotten."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], log: Path, pipe: int) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.away_until = 0.0
        self._argv, self._env, self._pipe = argv, env, pipe
        self._started_at = 0.0
        self._quick_ends = 0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._argv,
                env=self._env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._pipe],
                start_new_session=True,
                # The launcher has no threads.
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        self._started_at = time.monotonic()

    def look_after(self) -> bool:
        """Start it again if it has ended; return whether that was done."""
        if self.alive or time.monotonic() < self.away_until:
            return False
        if self.process is not None and not self.away_until:
            self._count_end()
            self.kill()
        self.away_until = 0.0
        self.start()
        return True

    def send_away(self, seconds: float) -> None:
        """End it, and let it come back after this time."""
        self._quick_ends = 0
        self.away_until = time.monotonic() + seconds
        self.terminate()

    def terminate(self) -> None:
        if self.alive and self.process is not None:
            self.process.terminate()

    def kill(self) -> None:
        """Kill the whole group; the children of a worker outlive it otherwise."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def tail(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-TAIL_LINES:])

    def forgive(self) -> None:
        """What ends next was asked to."""
        self._quick_ends = -1

    def _count_end(self) -> None:
        quick = time.monotonic() - self._started_at < QUICK_SECONDS
        self._quick_ends = self._quick_ends + 1 if quick else 0
        if self._quick_ends >= QUICK_ENDS:
            raise Trouble(f"The {self.name} ends as soon as it is started. The end of {near(self.log)}:\n{self.tail()}")


def _die_with_parent() -> None:
    """Let the kernel end this child when we are killed and can end nothing any more."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


_libc: Final = ctypes.CDLL(None)  # loaded before any fork
