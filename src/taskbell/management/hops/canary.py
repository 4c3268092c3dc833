"""The canary: an event that is published, numbered and read back, timed from hop to hop."""

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from django.db import connections

from taskbell.conf import current
from taskbell.management.hops.door import GATHERED, OpenStream
from taskbell.management.hops.finding import Finding
from taskbell.management.hops.here import LOOK_SECONDS
from taskbell.models import Log, Outbox
from taskbell.store.connection import adopt
from taskbell.store.head import create_head
from taskbell.store.outbox import EVENT, insert
from taskbell.store.tick import Moved, NoHead, Ticker
from taskbell.wakeups import kind

# Nobody may read it, and `tail` does not show it: for a canary that no stream waits for.
CHANNEL: Final = "taskbell:doctor"
# A running gateway looks every POLL seconds; one more for a busy machine.
POLLS_TO_WAIT: Final = 2
# A backlog may lie before the canary; a head that somebody else holds is let go within two seconds.
TICKING_SECONDS: Final = 10.0
# On its way through a gateway and a proxy, after it is numbered.
DELIVERY_SECONDS: Final = 3.0
# A ring takes milliseconds. Of a poll interval: later than this the poll found it.
RUNG_WITHIN: Final = 0.3


def send_canary(alias: str, stream: OpenStream | None) -> Iterator[Finding]:
    """Publish a canary and follow it: to its number, and where a `stream` is open to its reader."""
    token = secrets.token_hex(8)
    channel = stream.channel if stream is not None else CHANNEL
    canary = Outbox(kind=EVENT, channel=channel, type="canary", payload=f'{{"token":"{token}"}}')
    published = time.monotonic()
    insert([canary])
    tick = _await_number(canary, alias, published)
    yield tick
    if stream is not None and tick.grade == "ok":
        yield _await_delivery(stream, token, alias, published)


def _await_number(canary: Outbox, alias: str, published: float) -> Finding:
    if _is_numbered(canary, alias, seconds=POLLS_TO_WAIT * current().POLL):
        return Finding("ok", "tick", f"a running gateway numbered a test event ({_ms(published)})")
    # A gateway ticks in a thread of its own too, on a connection with settings of its own.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_tick, alias, canary).result()
    if _is_numbered(canary, alias, seconds=0):
        return Finding(
            "look",
            "tick",
            "no gateway numbered a test event in time, so the doctor did",
            "Start one: manage.py taskbell serve",
        )
    Outbox.objects.using(alias).filter(payload=canary.payload).delete()
    return Finding(
        "FAIL",
        "tick",
        f"a test event was not numbered within {TICKING_SECONDS:.0f} s",
        "Somebody holds the lock of the head: look for a frozen gateway, or a transaction left open in the database.",
    )


def _await_delivery(stream: OpenStream, token: str, alias: str, published: float) -> Finding:
    poll = float(current().POLL)
    if not stream.hears(token.encode(), POLLS_TO_WAIT * poll + DELIVERY_SECONDS):
        return Finding(
            "FAIL",
            "delivery",
            "the test event was numbered, and did not come by the stream",
            f"Does the gateway at this address use this database ({alias!r})? {GATHERED}",
        )
    took = time.monotonic() - published
    if kind(alias) != "poll" and took > RUNG_WITHIN * poll:
        advice = "The gateway looks every POLL seconds and is not rung: its log says why; see `wakeup` above."
        return Finding("look", "delivery", f"the test event came by the stream late ({_ms(published)})", advice)
    return Finding("ok", "delivery", f"the test event came by the stream ({_ms(published)})")


def _is_numbered(canary: Outbox, alias: str, seconds: float) -> bool:
    log = Log.objects.using(alias).filter(channel=canary.channel, payload=canary.payload)
    deadline = time.monotonic() + seconds
    while not (found := log.exists()) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    return found


def _tick(alias: str, canary: Outbox) -> None:
    adopt(alias)
    ticker, deadline = Ticker(alias), time.monotonic() + TICKING_SECONDS
    try:
        while not _is_numbered(canary, alias, seconds=0) and time.monotonic() < deadline:
            answer = ticker.tick()
            if isinstance(answer, NoHead):
                create_head(alias)
            elif not isinstance(answer, Moved) or not answer.rows:
                time.sleep(LOOK_SECONDS)
    finally:
        connections.close_all()


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
