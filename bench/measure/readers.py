"""Stopped, trickling and vanished readers among good ones, beside a gateway that has only the good ones."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import Failed, Process
from bench.rig.servers import PUBLIC, Gateway, Streams, publisher

STOPPED, TRICKLING, VANISHED = "stopped", "trickling", "vanished"
PAD: Final = 1_000
# More than the buffers of a reader that takes nothing hold: when the timed events begin, the bad ones are full.
FILLING: Final = 120
FILLING_PAUSE_S: Final = 0.03
# STALLED and TCP_USER_TIMEOUT are 30 s each, from the last byte that left: the timed events last longer.
TIMED: Final = 100
PAUSE_S: Final = 0.25
# A trickling reader takes 8 KB a second.
TRICKLE_S: Final = 180.0
# Other descriptors than streams, which may come and go.
SPARE: Final = 5
SETTLE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Side:
    """A gateway with good readers, half of them opened before the bad ones and half after."""

    gateway: Gateway
    writer: Process
    good: list[Streams]
    bad: dict[str, Streams]


@dataclass(slots=True)
class Watch:
    """What became of the gateway with bad readers while the timed events went out."""

    resident: int
    gone_after: float | None = None


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    with ExitStack() as stack:
        bothered, calm = (start(plan.good, bad, databases, stack) for bad in (plan.bad, 0))
        time.sleep(SETTLE_S)
        before = bothered.gateway.resident_bytes()
        watch = send_in_turn(bothered, calm, plan.bad)
        trickled = bothered.bad[TRICKLING].result(TRICKLE_S)
        with_bad, without = last_of_good(bothered), last_of_good(calm)
    if watch.gone_after is None:
        raise Failed(f"stopped and vanished readers were still there after {TIMED * 2 * PAUSE_S:g} s")
    missing = (FILLING + TIMED) * plan.bad - trickled["deliveries"]["count"]
    who = f"{plan.bad:,} stopped, trickling and vanished each"
    return [
        Figure(
            name=f"publish() until the last of {plan.good:,} good readers has it, among {who}",
            unit="ms",
            samples=with_bad,
            yardstick="without bad readers",
            beside=without,
            aim="under 1.2 ×",
        ),
        Figure(name="until the stopped and vanished are gone", unit="s", samples=[watch.gone_after], aim="at most 45"),
        Figure(name="missing on the trickling", unit="deliveries", samples=[missing], aim="0"),
        Figure(
            name="memory that a bad reader adds at most",
            unit="KiB",
            samples=[(watch.resident - before) / plan.bad / 3 / 1024],
        ),
    ]


def start(good: int, bad: int, databases: Databases, stack: ExitStack) -> Side:
    database = stack.enter_context(databases.fresh())
    gateway = stack.enter_context(Gateway(database))

    def opened(count: int, *options: str | int) -> Streams:
        streams = stack.enter_context(Streams(gateway.port, count, PUBLIC, *options))
        streams.await_all()
        return streams

    first = opened(good // 2, "--each")
    options = {kind: ("--reader", kind) for kind in (STOPPED, VANISHED)}
    options[TRICKLING] = ("--reader", TRICKLING, "--events", str(FILLING + TIMED))
    readers = {kind: opened(bad, *words) for kind, words in options.items()} if bad else {}
    writer = stack.enter_context(publisher(database, "--pad", PAD))
    return Side(gateway, writer, [first, opened(good // 2, "--each")], readers)


def send_in_turn(bothered: Side, calm: Side, bad: int) -> Watch:
    full = bothered.gateway.open_files()
    watch = Watch(bothered.gateway.resident_bytes())
    for _ in range(FILLING):
        for side in (bothered, calm):
            side.writer.line()
            time.sleep(FILLING_PAUSE_S)
    began = time.monotonic()
    for _ in range(TIMED):
        for side in (bothered, calm):
            side.writer.line()
            time.sleep(PAUSE_S)
        watch.resident = max(watch.resident, bothered.gateway.resident_bytes())
        if watch.gone_after is None and bothered.gateway.open_files() <= full - 2 * bad + SPARE:
            watch.gone_after = time.monotonic() - began
    return watch


def last_of_good(side: Side) -> list[float]:
    """Return for each timed event the milliseconds until the last good reader had it."""
    results = [streams.finish() for streams in side.good]
    for streams, result in zip(side.good, results, strict=True):
        if result["deliveries"]["count"] != (FILLING + TIMED) * streams.count:
            raise Failed(f"good readers missed or doubled events: {result['deliveries']}, {result['streams']}")
    halves = [{event["t"]: event["last"] for event in result["each"]} for result in results]
    stamps = sorted(halves[0], key=int)[FILLING:]
    return [max(_since(stamp, half) for half in halves) for stamp in stamps]


def _since(stamp: Any, lasts: dict[Any, Any]) -> float:
    return float(lasts[stamp] - stamp) / 1e6
