"""The pump: one thread that waits for a wakeup, ticks, reads the log and hands frames to the hub.

Any gateway may tick. The one whose tick moved rows stays at it; the others read, and try to tick when something rang
and the log did not grow for a moment, or when a poll interval passed.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Final

from taskbell.conf import current
from taskbell.counts import count
from taskbell.faults import Fault
from taskbell.gateway.control import MOST_HELD, Control
from taskbell.gateway.hub import Hub
from taskbell.gateway.window import Frame
from taskbell.ground.cursor import Cursor
from taskbell.store.connection import SameFile, adopt_all, release_all
from taskbell.store.control import CONTROL_CHANNEL, newest
from taskbell.store.head import create_head, read_head
from taskbell.store.log import PAGE_ROWS, LogRow, Lost, place_of_head, read_after, tail
from taskbell.store.tick import Moved, NoHead, Ticker
from taskbell.wakeups import Listener, configured
from taskbell.wakeups.bell import ring_soon

# Rings come at most 20 times a second, so for a little longer than that after an event we look without being rung.
# A look takes a fifth of a millisecond: an event of a steady flow waits for half of one in the middle.
HOT_SECONDS: Final = 0.1
HOT_WAIT: Final = 0.001
# How long the ticking gateway is given to move what rang before another one tries.
OTHERS_WAIT: Final = 0.05
# While the hub fans out, reading more would only take the interpreter from it. It says when it is done; a pump that
# ends meanwhile looks up this often.
GLANCE: Final = 0.25
# How often the hub is told that the log was looked at.
TELL_SECONDS: Final = 0.5
# A few poll intervals without a look at the log are a fault, one is a busy machine.
HEALTHY_POLLS: Final = 5
BACK_OFF: Final = (0.1, 0.2, 0.5, 1.0, 2.0)

logger = logging.getLogger("taskbell")


class Pump(threading.Thread):
    """Feeds a hub from the log of one database; `on_new_file` is called when a SQLite file was replaced."""

    def __init__(
        self,
        hub: Hub,
        control: Control,
        alias: str,
        loop: asyncio.AbstractEventLoop,
        on_new_file: Callable[[], None],
    ) -> None:
        super().__init__(name="taskbell-pump", daemon=True)
        self.hub = hub
        self.control = control
        self.alias = alias
        self.loop = loop
        self.on_new_file = on_new_file
        self._ending = threading.Event()
        self._listener: Listener | None = None
        self._position: Cursor | None = None
        self._ticking = False
        self._hot_until = 0.0
        self._try_at: float | None = None
        self._polled_at = 0.0
        self._told_look_at = 0.0
        self._failures = 0
        self._stepped_at = 0.0
        self._fault = Fault(logging.ERROR)

    @property
    def healthy(self) -> bool:
        """Whether the log was looked at lately; False while the database is away or answers nothing."""
        return time.monotonic() - self._stepped_at < HEALTHY_POLLS * current().POLL

    @property
    def deaf(self) -> bool:
        """Whether rings are not heard right now."""
        return self._listener is None or self._listener.deaf

    def stop(self) -> None:
        """Ask the thread to end; it does within a poll interval."""
        self._ending.set()
        if self._listener is not None:
            self._listener.close()

    def run(self) -> None:
        adopt_all()
        self.ticker = Ticker(self.alias)
        self._file = SameFile(self.alias)
        with closing(configured(self.alias).listen()) as listener:
            self._listener = listener
            while not self._ending.is_set():
                try:
                    self._step(listener)
                    self._failures, self._stepped_at = 0, time.monotonic()
                except Exception as error:  # noqa: BLE001  whatever it was, streams stay and the log is tried again
                    self._recover(error)
        release_all()

    def _step(self, listener: Listener) -> None:
        if self._position is None:
            self._start()
            return
        rang = listener.wait(self._patience())
        if self._ending.is_set():
            return
        if rang:
            count("rings_heard_total")
        if not self._file.still():
            self._reopen()
        self._let_hub_work()
        polled = time.monotonic() - self._polled_at >= current().POLL
        if polled:
            self._polled_at = time.monotonic()
        began = time.monotonic()
        took = (self._ticking or polled or self._is_my_turn()) and self._tick()
        look = not took and (rang or polled or not self._ticking)
        if look:
            grew = self._read()
            if rang and not grew and not self._ticking and self._try_at is None:
                self._try_at = time.monotonic() + OTHERS_WAIT
        if took or look:
            self._tell_look(began)

    def _tell_look(self, began: float) -> None:
        """Tell the hub, after everything that was found; now and then, for it costs a turn of the loop."""
        if began - self._told_look_at >= TELL_SECONDS:
            self._told_look_at = began
            self._call(self.hub.look, began)

    def _let_hub_work(self) -> None:
        """Wait while the hub is busy; what comes meanwhile leaves together, in one write a stream."""
        while not self.hub.resting.wait(GLANCE) and not self._ending.is_set():
            pass

    def _patience(self) -> float:
        now = time.monotonic()
        wait = HOT_WAIT if now < self._hot_until else self._polled_at + current().POLL - now
        return max(0.0, wait if self._try_at is None else min(wait, self._try_at - now))

    def _is_my_turn(self) -> bool:
        return self._try_at is not None and time.monotonic() >= self._try_at

    def _start(self) -> None:
        place = place_of_head(self.alias)
        if place is None:
            create_head(self.alias)
            return
        rows = tail(self.alias, current().WINDOW_BYTES)
        if rows:
            place = Cursor(place.log_id, rows[-1].seq, rows[-1].nonce)
        control = self._begin_control()
        self._position = place
        self._call(self.hub.start_at, place, [Frame.of(row, place.log_id) for row in rows])
        self._call(self.control.forget, control)

    def _begin_control(self) -> list[LogRow]:
        rows, head = newest(self.alias, MOST_HELD), read_head(self.alias)
        pruned = head.floor - 1 if head is not None else 0
        self._call(self.control.begin, rows[0].seq if len(rows) == MOST_HELD else pruned, rows)
        return rows

    def _tick(self) -> bool:
        """Tick until nothing waits; return whether rows were moved and handed over."""
        took = False
        while True:
            began = time.monotonic()
            answer = self.ticker.tick()
            if isinstance(answer, NoHead):
                create_head(self.alias)
                continue
            self._try_at = None
            if not isinstance(answer, Moved) or not (answer.rows or answer.more):
                self._ticking = self._ticking and isinstance(answer, Moved)
                return took
            if not answer.rows:  # facts that changed nothing, or a row set aside: what follows waits behind them
                continue
            self._ticking = took = True
            count("ticks_total")
            count("tick_seconds_total", by=time.monotonic() - began)
            count("events_numbered_total", by=len(answer.rows))
            if not self._continues(answer):  # another one is at it too, and has moved more
                self._ticking = False
                ring_soon(self.alias)
                return self._read()
            self._hand_over(answer.rows)
            ring_soon(self.alias)  # for the others: its thread would take the interpreter from our own streams
            if not answer.more:
                return took
            self._let_hub_work()

    def _continues(self, moved: Moved) -> bool:
        place, before = self._position, moved.before
        return bool(place and before and (place.log_id, place.seq) == (before.log_id, before.seq))

    def _read(self) -> bool:
        """Hand over what the log has after our position; return whether it had anything."""
        grew = False
        while self._position is not None:
            page = read_after(self._position, self.alias)
            if page is None:
                create_head(self.alias)
            elif isinstance(page, Lost):
                return self._rewrite(page)
            elif page.rows:
                grew = True
                self._hand_over(page.rows)
            if page is not None and len(page.rows) < PAGE_ROWS:
                break
            self._let_hub_work()
        if grew:
            # Somebody ticks, and is disturbed only if that ends.
            self._try_at, self._polled_at = None, time.monotonic()
        return grew

    def _rewrite(self, lost: Lost) -> bool:
        place = place_of_head(self.alias)
        if place is not None:
            logger.warning("The log was %s; every open stream is told to reset.", lost.reason)
            self._call(self.control.begin, max(place.seq, self._position.seq if self._position else 0))
            self._position = place
            self.ticker = Ticker(self.alias)  # ids may have begun anew
            self._feed(self.hub.rewrite, lost.reason, place)
        return True

    def _hand_over(self, rows: Sequence[LogRow]) -> None:
        assert self._position is not None
        log_id = self._position.log_id
        self._position = Cursor(log_id, rows[-1].seq, rows[-1].nonce)
        self._hot_until = time.monotonic() + HOT_SECONDS
        if control := [row for row in rows if row.channel == CONTROL_CHANNEL]:
            self._call(self.control.take, control)
        self._feed(self.hub.feed, [Frame.of(row, log_id) for row in rows])
        if control:
            self._call(self.control.forget, control)

    def _feed(self, function: Callable[..., None], *args: object) -> None:
        """Give the hub something to fan out; from this moment it does not rest."""
        self.hub.resting.clear()
        self._call(function, *args)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: the process ends
            self._ending.set()

    def _reopen(self) -> None:
        logger.warning("The SQLite file was replaced; all connections are opened again.")
        release_all()
        self.ticker = Ticker(self.alias)
        self.on_new_file()

    def _recover(self, error: Exception) -> None:
        self._failures += 1
        self._fault.tell("The log cannot be read or moved: %s", error)
        self._ticking = False
        release_all()
        self._ending.wait(BACK_OFF[min(self._failures, len(BACK_OFF)) - 1])
