"""Processes of one run: started on a core of their own, asked for their result, stopped by id."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import psutil

from bench.rig.build import BENCH

ROOT: Final = BENCH.parent
LOOK_AGAIN_S: Final = 0.01
KILL_AFTER_S: Final = 30.0

_cores: Final = sorted(os.sched_getaffinity(0))
# What is measured has one core for itself; the load tool and the publisher share the next one.
SERVER_CORE: Final = _cores[0]
LOAD_CORE: Final = _cores[1] if len(_cores) > 1 else _cores[0]


class Failed(Exception):
    """A process of the run did not do its part; the message holds the end of what it said."""


class Process:
    """A child whose output goes to files: nobody has to read a pipe while measuring.

    As a context manager it is stopped at the end, whatever happens.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        core: int | None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed in stop)
        self._result = tempfile.TemporaryFile()  # noqa: SIM115
        self._child = subprocess.Popen(
            [str(word) for word in command],
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | (env or {}),
            stdin=subprocess.PIPE,
            stdout=self._result,
            stderr=self._said,
        )
        # Whoever interrupts us may do so before the caller's `with` begins.
        atexit.register(self.stop)
        if core is not None:
            # Before it has had time to start a thread: those inherit it.
            os.sched_setaffinity(self._child.pid, {core})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def line(self) -> None:
        """Give it one line on stdin: the sign to send one event."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"\n")
        self._child.stdin.flush()

    def await_ready(self, seconds: float) -> str:
        """Wait for its line `ready …` on stderr and return the rest of that line."""
        return self.await_line("ready", seconds)

    def await_line(self, word: str, seconds: float) -> str:
        """Wait for the line on stderr that begins with `word` and return the rest of it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.said().splitlines():
                if line.startswith(word):
                    return line.removeprefix(word).strip()
            if not self.alive:
                raise self._failure(f"ended before it said {word}")
            time.sleep(LOOK_AGAIN_S)
        raise self._failure(f"did not say {word} within {seconds:g} s")

    def result(self, seconds: float) -> Any:
        """Wait for its end and return the JSON it printed."""
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._failure(f"was not done after {seconds:g} s") from None
        self._result.seek(0)
        try:
            return json.loads(self._result.read())
        except ValueError:
            raise self._failure("printed no result") from None

    def finish(self, seconds: float = 30.0) -> Any:
        """Ask it to end and return the JSON it printed."""
        self._child.send_signal(signal.SIGTERM)
        return self.result(seconds)

    def pause(self) -> None:
        """Freeze it."""
        self._child.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it: asked first, then by force."""
        if self.alive:
            self._child.terminate()
            try:
                self._child.wait(KILL_AFTER_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        atexit.unregister(self.stop)
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._said.close()
        self._result.close()

    def said(self) -> str:
        """Return what it wrote to stderr so far."""
        return os.pread(self._said.fileno(), os.fstat(self._said.fileno()).st_size, 0).decode(errors="replace")

    def resident_bytes(self) -> int:
        """Return the resident memory of it and its children."""
        return sum(process.memory_info().rss for process in self._family())

    def open_files(self) -> int:
        """Return how many files and sockets it and its children have open."""
        return sum(process.num_fds() for process in self._family())

    def threads(self) -> int:
        """Return how many threads it and its children have."""
        return sum(process.num_threads() for process in self._family())

    def cpu_seconds(self) -> float:
        """Return the processor time that it and its children have used."""
        return sum(map(_nanoseconds_of, self._family())) / 1e9

    def _family(self) -> list[psutil.Process]:
        own = psutil.Process(self._child.pid)
        return [own, *own.children(recursive=True)]

    def _failure(self, what: str) -> Failed:
        return Failed(f"{self.name} {what}.\n" + "\n".join(self.said().splitlines()[-15:]))


def _nanoseconds_of(process: psutil.Process) -> int:
    """Return the time that its threads have run; the kernel's other count has steps of 10 ms."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def actor(name: str, *words: str | int, core: int | None, env: dict[str, str]) -> Process:
    """Start one of bench/actors: a Python process of its own with Django set up."""
    return Process(name, django_command(f"bench.actors.{name}", *words), core=core, env=env | DJANGO)


def django_command(module: str, *words: str | int) -> list[str]:
    """Return the command that runs `module` with this Python."""
    return [sys.executable, "-m", module, *(str(word) for word in words)]


DJANGO: Final = {"DJANGO_SETTINGS_MODULE": "bench.settings"}
