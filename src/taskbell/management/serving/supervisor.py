"""Several workers on one port: started, watched, started again, and drained together.

Each worker is the same command in a process of its own with a listening socket of its own (SO_REUSEPORT), so the
kernel spreads connections and none waits for another: a worker that is gone or frozen holds up only its own streams.
"""

import asyncio
import contextlib
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from taskbell.conf import current
from taskbell.management.serving.lifeline import MOST_BYTES, Post, pair
from taskbell.management.serving.reports import Report
from taskbell.management.serving.server import LAST_SECONDS
from taskbell.wakeups.pauses import LONGEST_PAUSE, Backoff

# The first time at once, or nearly: what was a chance is over.
FIRST_PAUSE: Final = 0.5
# A worker whose event loop stands still for this long serves nobody, and new connections still come to it.
FROZEN_SECONDS: Final = 30.0
# A start reads the project's code, and the database may be slow to answer.
START_SECONDS: Final = 120.0
# After DRAIN and what a worker itself leaves to hanging requests.
KILL_AFTER_SECONDS: Final = 5.0

logger = logging.getLogger("taskbell")


class Worker:
    """One worker: its process while it has one, and what it last reported."""

    def __init__(self, number: int, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.number = number
        self.report: Report = {}
        self._port = port
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._heard_at = 0.0

    async def serve(self) -> int:
        """Run one process to its end and return its exit status."""
        ours, theirs = pair()
        with ours:
            with theirs:
                post = Post(self.number, theirs.fileno(), self._port)
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *sys.orig_argv[1:],
                    env=post.environment(),
                    pass_fds=[post.fd],
                    # The terminal's Ctrl-C is the parent's to handle.
                    start_new_session=True,
                )
            self._heard_at = self._clock() + START_SECONDS - FROZEN_SECONDS
            hearing = asyncio.create_task(self._hear(ours))
            try:
                return await self._process.wait()
            finally:
                hearing.cancel()
                self._process, self.report = None, {}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The id of its process."""
        return self._process.pid if self._process is not None else None

    @property
    def frozen(self) -> bool:
        """Whether its event loop has stood still for too long."""
        silent = self._clock() - self._heard_at
        return self.alive and silent + self.report.get("stood_still", 0.0) > FROZEN_SECONDS

    async def _hear(self, lifeline: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(lifeline, MOST_BYTES):
            self.report = json.loads(data)
            self._heard_at = self._clock()


class Supervisor:
    """Keeps workers until SIGTERM or SIGINT; `run` returns the exit status."""

    def __init__(self, count: int, port: int, notice: float = 0.0) -> None:
        self.workers = [Worker(number, port) for number in range(1, count + 1)]
        self._notice = notice
        self._ending = asyncio.Event()

    async def run(self) -> int:
        """Start the workers, keep them, and drain them together; 0 if all ended in order and in time."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        keeping = [asyncio.create_task(self._keep(worker)) for worker in self.workers]
        watching = asyncio.create_task(self._watch())
        await self._ending.wait()
        watching.cancel()
        await self._drain(keeping)
        return 1 if any(await asyncio.gather(*keeping)) else 0

    def _interrupt(self) -> None:
        if self._ending.is_set():  # a second Ctrl-C: to be quick about it
            self._tell_all(signal.SIGINT)
        self._ending.set()

    def reports(self) -> list[tuple[str, Report]]:
        """Return what each worker last said, by its number; none is ready once they were told to end."""
        told = [(str(worker.number), worker.report) for worker in self.workers]
        return [(number, report | {"ready": False}) for number, report in told] if self._ending.is_set() else told

    async def _drain(self, keeping: list[asyncio.Task[int]]) -> None:
        patience = self._notice + current().DRAIN + LAST_SECONDS + KILL_AFTER_SECONDS
        deadline = time.monotonic() + patience
        late: set[asyncio.Task[int]] = {*keeping}
        while late and time.monotonic() < deadline:
            # Again and again, because one may have been about to start; to the others a second word is none.
            self._tell_all(signal.SIGTERM)
            _, late = await asyncio.wait(late, timeout=1)
        if late:
            logger.error("Workers that did not end within %g s are killed.", patience)
            self._tell_all(signal.SIGKILL)

    def _tell_all(self, number: signal.Signals) -> None:
        for worker in self.workers:
            worker.signal(number)

    async def _keep(self, worker: Worker) -> int:
        """Keep one worker going; return the status with which it ended when all were told to."""
        backoff = Backoff(FIRST_PAUSE)
        while not self._ending.is_set():
            began = time.monotonic()
            status = await worker.serve()
            if self._ending.is_set():
                return 0 if status == -signal.SIGTERM else status  # it had not yet come to handling signals
            if time.monotonic() - began > LONGEST_PAUSE:
                backoff.reset()
            pause = backoff.pause()
            logger.error("Worker %d ended with status %d; it is started again in %g s.", worker.number, status, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._ending.wait()
        return 0

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(1)
            for worker in self.workers:
                if worker.frozen:
                    logger.error("Worker %d (process %s) has stood still for %g s and is killed.",
                                 worker.number, worker.pid, FROZEN_SECONDS)  # fmt: skip
                    worker.signal(signal.SIGKILL)
