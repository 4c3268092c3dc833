"""From `publish()` in another process to the bytes on a few open streams, at three rates."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from bench.actors.publisher import PAD_CHARACTERS
from bench.rig.databases import SQLITE, Database, Databases
from bench.rig.figures import LIMIT, Figure, quantile
from bench.rig.plan import Plan
from bench.rig.processes import Failed
from bench.rig.servers import PUBLIC, Gateway, Limit, Streams, publisher

STREAMS: Final = 5
RATES: Final = (10, 100, 1_000)
# A second gateway is tried at this one.
TWO_RATE: Final = 100
# A gateway that comes, or comes back, reads what it missed: more than a poll interval.
CATCH_UP_S: Final = 2.0
AIMS: Final = {"p50": "under 3", "p99": "under 8"}
LIMIT_S: Final = 1.0
# The p99 of fewer is their largest.
FEWEST: Final = 30
WARM_UP_EVENTS: Final = 20
# For a publisher that cannot keep its timetable, and for the last event.
TIMES_AS_LONG: Final = 4
LAST_EVENT_S: Final = 15.0
DISK_WRITES: Final = 50

Samples = dict[tuple[str, str], list[float]]


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    figures = [Figure(name="one small write to this disk", unit="ms", samples=[disk() for _ in range(plan.pairs)])]
    for engine in plan.databases:
        with databases.fresh(engine) as database, Gateway(database) as gateway:
            figures += at_all_rates(plan, engine, database, gateway)
            with Gateway(database) as second:
                figures += with_two(plan, engine, database, gateway, second)
    if SQLITE in plan.databases:
        with databases.fresh() as database:
            as_told = replace(database, env=database.env | {"BENCH_SYNCHRONOUS": "NORMAL"})
            with Gateway(as_told) as gateway:
                figures += at_all_rates(plan, f"{SQLITE} as in production.md", as_told, gateway)
    return figures


def at_all_rates(plan: Plan, title: str, database: Database, gateway: Gateway) -> list[Figure]:
    one_rate(database, [gateway], 100, WARM_UP_EVENTS)
    taken: dict[int, Samples] = {rate: defaultdict(list) for rate in RATES}
    for _ in range(plan.pairs):
        for rate, samples in taken.items():
            count = max(int(rate * plan.seconds), FEWEST)
            note(samples, "taskbell", one_rate(database, [gateway], rate, count))
            note(samples, "limit", {"publish": bare(rate, max(int(rate * min(plan.seconds, LIMIT_S)), 10))})
    return [figure for rate, samples in taken.items() for figure in of_rate(title, rate, samples)]


def with_two(plan: Plan, engine: str, database: Database, first: Gateway, second: Gateway) -> list[Figure]:
    """Return what a second gateway adds: streams on both, beside streams on the first while the second stands by."""
    taken: Samples = defaultdict(list)
    count = max(int(TWO_RATE * plan.seconds), FEWEST)
    time.sleep(CATCH_UP_S)
    one_rate(database, [first, second], TWO_RATE, WARM_UP_EVENTS)
    for _ in range(plan.pairs):
        note(taken, "two", one_rate(database, [first, second], TWO_RATE, count))
        second.pause()
        try:
            note(taken, "one", one_rate(database, [first], TWO_RATE, count))
        finally:
            second.resume()
            time.sleep(CATCH_UP_S)
    return [
        Figure(
            name=f"{engine}, {TWO_RATE}/s, two gateways, publish to bytes on both {share}",
            unit="ms",
            samples=taken["two", f"publish {share}"],
            yardstick="one gateway",
            beside=taken["one", f"publish {share}"],
            aim="at most 1.5 ×",
        )
        for share in ("p50", "p99")
    ]


def one_rate(database: Database, gateways: Sequence[Gateway], rate: int, count: int) -> dict[str, list[float]]:
    """Publish `count` events; return milliseconds until the last stream had each, and the rate that it came to."""
    seconds = count / rate * TIMES_AS_LONG + LAST_EVENT_S
    options = ("--each", "--events", count, "--seconds", seconds)
    with ExitStack() as stack:
        opened = [stack.enter_context(Streams(gateway.port, STREAMS, PUBLIC, *options)) for gateway in gateways]
        for streams in opened:
            streams.await_all()
        writer = stack.enter_context(publisher(database, "--rate", rate, "--count", count))
        times = writer.result(seconds)
        arrived = [arrivals(streams.result(seconds), count) for streams in opened]
    last = {before: max(one[before] for one in arrived) for before, _ in times}
    return {
        "publish": [(last[before] - before) / 1e6 for before, _ in times],
        "commit": [(last[before] - committed) / 1e6 for before, committed in times],
        "rate": [(count - 1) / (times[-1][0] - times[0][0]) * 1e9],
    }


def arrivals(result: dict[str, Any], count: int) -> dict[int, int]:
    """Return when the last stream had each event; raises `Failed` when one is missing or doubled."""
    arrived = {event["t"]: event["last"] for event in result["each"] if event["streams"] == STREAMS}
    if len(arrived) != count or result["deliveries"]["count"] != count * STREAMS:
        seen = f"{result['deliveries']}, {result['streams']}"
        raise Failed(f"{count} events to {STREAMS} streams were not delivered once each: {seen}")
    return arrived


def bare(rate: int, count: int) -> list[float]:
    with (
        Limit(STREAMS, pad=PAD_CHARACTERS, events=count, period_ms=1_000 // rate) as limit,
        Streams(limit.port, STREAMS, PUBLIC, "--each", "--events", count, "--seconds", count / rate + 5) as streams,
    ):
        result = streams.result(count / rate + 30)
    return [(event["last"] - event["t"]) / 1e6 for event in result["each"]]


def disk() -> float:
    """Return the median milliseconds of a write that is waited for: the least that a commit can take here."""
    took = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(DISK_WRITES):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - began) * 1e3)
    return quantile(took, 0.5)


def note(samples: Samples, side: str, values: dict[str, list[float]]) -> None:
    for what, ones in values.items():
        samples[side, f"{what} p50"].append(quantile(ones, 0.5))
        samples[side, f"{what} p99"].append(quantile(ones, 0.99))


def of_rate(engine: str, rate: int, samples: Samples) -> list[Figure]:
    published = Figure(
        name=f"{engine}, {rate:,}/s, really published",
        unit="/s",
        samples=samples["taskbell", "rate p50"],
    )
    return [
        published,
        *(
            Figure(
                name=f"{engine}, {rate:,}/s, {since} to bytes {share}",
                unit="ms",
                samples=samples["taskbell", f"{since} {share}"],
                yardstick=LIMIT,
                beside=samples["limit", f"publish {share}"],
                comparable=False,
                aim=AIMS[share] if since == "publish" else "",
            )
            for since in ("publish", "commit")
            for share in ("p50", "p99")
        ),
    ]
