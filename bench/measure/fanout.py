"""Time to deliver one event to all streams, each event of the gateway next to one of the bare C loop."""

import time
from typing import Any, Final

from bench.actors.publisher import PAD_CHARACTERS
from bench.rig.databases import Databases
from bench.rig.figures import LIMIT, Figure
from bench.rig.plan import Plan
from bench.rig.processes import Failed, Process
from bench.rig.servers import PUBLIC, Gateway, Limit, Streams, publisher

# Between two events; far more than one takes.
PAUSE_S: Final = 1.0
SETTLE_S: Final = 3.0


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    count = plan.streams
    with (
        databases.fresh() as database,
        Gateway(database) as gateway,
        Limit(count, pad=PAD_CHARACTERS) as limit,
        publisher(database) as writer,
        Streams(gateway.port, count, PUBLIC, "--each") as ours,
        Streams(limit.port, count, PUBLIC, "--each") as bare,
    ):
        ours.await_all()
        bare.await_all()
        time.sleep(SETTLE_S)
        send_in_turn(writer, limit, plan.pairs + 1)
        gateway_events, limit_events = complete_events(ours, plan.pairs + 1), complete_events(bare, plan.pairs + 1)
    return [
        Figure(
            name=f"publish() until all {count:,} streams have it",
            unit="ms",
            samples=[since_publication(event) for event in gateway_events],
            yardstick=LIMIT,
            beside=[since_publication(event) for event in limit_events],
            aim="1.5 × at most",
        ),
        Figure(
            name="first stream until last stream",
            unit="ms",
            samples=[since_first(event) for event in gateway_events],
            yardstick=LIMIT,
            beside=[since_first(event) for event in limit_events],
        ),
    ]


def send_in_turn(writer: Process, limit: Process, events: int) -> None:
    for number in range(events):
        for sender in (writer, limit) if number % 2 else (limit, writer):
            sender.line()
            time.sleep(PAUSE_S)


def complete_events(streams: Streams, expected: int) -> list[dict[str, Any]]:
    """Return the events in order without the first, which touches cold memory; raises `Failed` when any is missing."""
    result = streams.finish()
    events = [event for event in result["each"] if event["streams"] == streams.count]
    if len(events) != expected or result["deliveries"]["count"] != expected * streams.count:
        seen = f"{result['deliveries']}, {result['streams']}"
        raise Failed(f"{expected} events to {streams.count} streams were not delivered once each: {seen}")
    return sorted(events, key=lambda event: int(event["t"]))[1:]


def since_publication(event: dict[str, Any]) -> float:
    return float(event["last"] - event["t"]) / 1e6


def since_first(event: dict[str, Any]) -> float:
    return float(event["last"] - event["first"]) / 1e6
