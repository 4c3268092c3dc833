"""The gateway of one process: hub, pump, pool and rounds, started together and drained together."""

import asyncio
import contextlib
import gc
import logging
import random
import signal
import threading
import time
from types import FrameType
from typing import Final

from django.db import router

from taskbell import faults
from taskbell.conf import current
from taskbell.counts import count
from taskbell.gateway.control import Control, Newest
from taskbell.gateway.files import tell_of_crowd
from taskbell.gateway.hub import Hub
from taskbell.gateway.life import Life
from taskbell.gateway.limits import Limits
from taskbell.gateway.pool import Pool
from taskbell.gateway.pump import Pump
from taskbell.gateway.recheck import Recheck
from taskbell.gateway.replay import Replay
from taskbell.gateway.stream import StreamEndpoint
from taskbell.gateway.window import Window
from taskbell.gateway.wire import Stream
from taskbell.models import Log
from taskbell.store.connection import SameFile, adopt_all, release_all
from taskbell.store.loops import Loop, registered
from taskbell.wakeups import configured, kind

# Browsers come back at once, at a moment of their own within this: the drain itself has spread them already.
RETRY_SPREAD_MS: Final = (500, 3000)
# Fewer streams need no spreading: Ctrl-C in development is quick.
STREAMS_A_SECOND: Final = 50
# The event loop shows this often that it turns.
TURN_SECONDS: Final = 1.0
# After the last `bye` this is left for bytes on their way.
LAST_BYTES_SECONDS: Final = 1.0

logger = logging.getLogger("taskbell")


class Gateway:
    """Holds the streams of one process; `start` and `drain` belong to its event loop."""

    def __init__(self) -> None:
        alias = router.db_for_write(Log)
        self.alias = alias
        self.pool = Pool()
        self.replay = Replay(self.pool, alias)
        self.limits = Limits()
        self.hub = Hub(Window(current().WINDOW_BYTES), self.replay.ask, self._left)
        self.replay.hub = self.hub
        self.life = Life(self.hub)
        newest = Newest()
        self.recheck = Recheck(self.hub, self.pool, newest)
        self.control = Control(self.hub, self.limits, self.recheck, newest)
        self.endpoint = StreamEndpoint(self.hub, self.limits, self.life, self.pool, self.control)
        self._pump: Pump | None = None
        self._ending = threading.Event()
        #: For how many seconds after a signal to stop everything goes on, only that `ready` is False.
        self.notice = 0.0
        self._leaving = False
        self._draining: asyncio.Task[None] | None = None
        self._turning: asyncio.Task[None] | None = None
        self._turned_at = 0.0

    def _left(self, stream: Stream) -> None:
        self.limits.leave(stream)
        self.life.leave(stream)

    def start(self) -> None:
        """Start reading, and the loops that apps have registered; harmless when started."""
        if self._pump is not None:
            return
        configured(self.alias)  # a setting that cannot work stops the start, not the pump's thread
        loop = asyncio.get_running_loop()
        self._pump = Pump(self.hub, self.control, self.alias, loop, self.pool.renew)
        self._pump.start()
        # A project is hundreds of thousands of objects, and while streams come by the thousand the collector would walk
        # over all of them again and again: a tenth of what a handshake costs.
        gc.freeze()
        self.life.start()
        self._turning = asyncio.create_task(self._turn())
        self.recheck.start()
        for background in registered():
            threading.Thread(
                target=self._repeat, args=[background], name=f"taskbell-{background.name}", daemon=True
            ).start()
        tell_of_crowd(loop)
        self._listen_for_end(loop)
        logger.info("The gateway has started.", extra={"wakeup": kind(self.alias)})

    @property
    def ready(self) -> bool:
        """True while new streams are welcome."""
        if self._leaving or self._pump is None or self.hub.position is None:
            return False
        return self._pump.healthy and not self.endpoint.stopping

    @property
    def stood_still(self) -> float:
        """For how many seconds the event loop has not turned; may be asked from any thread."""
        return max(0.0, time.monotonic() - self._turned_at - TURN_SECONDS) if self._turned_at else 0.0

    def gauges(self) -> dict[tuple[str, str], float]:
        """Return what metrics tell of it, by name and label; may be asked from any thread."""
        position = self.hub.position
        deaf = self._pump is not None and self._pump.deaf
        return {
            ("ready", ""): self.ready,
            ("event_loop_stood_still_seconds", ""): self.stood_still,
            ("streams", ""): len(self.hub.streams),
            ("streams_behind", ""): len(self.hub.behind),
            ("writes_total", ""): self.hub.delivered,
            ("replay_rounds_total", ""): self.replay.rounds,
            ("window_bytes", ""): self.hub.window.bytes,
            ("head", ""): position.seq if position else 0,
            ("wakeup_deaf", kind(self.alias)): deaf,
        }

    async def drain(self) -> None:
        """Say `bye` to all streams within DRAIN seconds and stop; every caller waits for the one drain."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        self.endpoint.stopping = True
        streams = list(self.hub.streams)
        random.shuffle(streams)
        began = asyncio.get_running_loop().time()
        seconds = min(current().DRAIN, len(streams) / STREAMS_A_SECOND)
        for number, stream in enumerate(streams):
            self.hub.dismiss(stream, "drain", random.randint(*RETRY_SPREAD_MS))
            behind_plan = began + seconds * (number + 1) / len(streams) - asyncio.get_running_loop().time()
            if behind_plan > 0 and number + 1 < len(streams):
                await asyncio.sleep(behind_plan)
        await self._last_bytes()
        self._stop()
        logger.info("The gateway has stopped.", extra={"streams": len(streams)})

    async def _turn(self) -> None:
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(TURN_SECONDS)

    async def _last_bytes(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_BYTES_SECONDS):
                while self.hub.streams:  # noqa: ASYNC110  a second at most, once in a process
                    await asyncio.sleep(0.01)
        for stream in list(self.hub.streams):
            stream.abort()

    def _stop(self) -> None:
        self._ending.set()
        if self._turning is not None:
            self._turning.cancel()
        self.life.stop()
        self.recheck.stop()
        self.replay.stop()
        if self._pump is not None:
            self._pump.stop()
        self.pool.close()

    def _repeat(self, background: Loop) -> None:
        adopt_all()
        file = SameFile(self.alias)
        while not self._ending.wait(background.seconds):
            try:
                if not file.still():
                    release_all()
                background.step(self.alias)
            except Exception:
                count("loop_failures_total", background.name)
                faults.exception("The background loop %s failed; it goes on.", background.name, about=background.name)
                release_all()
        release_all()

    def _listen_for_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the drain on SIGTERM ourselves: servers tell an app only after all its streams are gone, or never."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            self._chain(number, loop)

    def _chain(self, number: signal.Signals, loop: asyncio.AbstractEventLoop) -> None:
        before = signal.getsignal(number)

        def end(received: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._begin_drain)
            if callable(before):
                before(received, frame)

        def handle(received: int, frame: FrameType | None) -> None:
            # A load balancer learns first that nobody is to be sent here. A second Ctrl-C does not wait for that.
            if self.notice and not self._leaving:
                loop.call_soon_threadsafe(loop.call_later, self.notice, end, received, None)
            elif not self.notice or received == signal.SIGINT or self._draining is not None:
                end(received, frame)
            self._leaving = True

        signal.signal(number, handle)

    def _begin_drain(self) -> None:
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
