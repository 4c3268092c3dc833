"""One event to all streams: the gateway, the bare C loop and, where they are installed, other servers take turns."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from bench.actors.publisher import PAD_CHARACTERS
from bench.peers import PEERS, Missing, Peer
from bench.rig.databases import Databases
from bench.rig.figures import LIMIT, Figure
from bench.rig.plan import Plan
from bench.rig.processes import Failed
from bench.rig.servers import PUBLIC, Gateway, Limit, Streams, poster, publisher

SETTLE_S: Final = 3.0
# Between two events, when everybody has the first.
PAUSE_S: Final = 0.5
LONGEST_EVENT_S: Final = 30.0
OPEN_S: Final = 120.0
# A peer's event counts when nearly all streams had it.
MAY_LOSE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Side:
    """One server with all its streams open; `send` has it send one event."""

    title: str
    send: Callable[[], None]
    streams: Streams
    cpu_seconds: Callable[[], float]
    spent: list[float]


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    with ExitStack() as stack:
        ours, bare = taskbell(plan.streams, databases, stack), limit(plan.streams, stack)
        peers = [side for kind in PEERS if (side := peer(kind, plan.peers, stack))]
        time.sleep(SETTLE_S)
        # The first touches cold memory.
        for number in range(plan.pairs + 1):
            sides = [ours, bare, *peers]
            for side in sides if number % 2 else reversed(sides):
                send(side)
        events = {side.title: complete_events(side.streams, plan.pairs + 1) for side in (ours, bare)}
        events |= {side.title: most_of(side) for side in peers}
    return [
        *beside_limit(plan, events, ours, bare),
        *(ahead(plan, events, side) for side in peers if events[side.title]),
    ]


def taskbell(count: int, databases: Databases, stack: ExitStack) -> Side:
    database = stack.enter_context(databases.fresh())
    gateway = stack.enter_context(Gateway(database))
    writer = stack.enter_context(publisher(database))
    return Side("Taskbell", writer.line, opened(gateway.port, count, PUBLIC, stack), gateway.cpu_seconds, [])


def limit(count: int, stack: ExitStack) -> Side:
    bare = stack.enter_context(Limit(count, pad=PAD_CHARACTERS))
    return Side(LIMIT, bare.line, opened(bare.port, count, PUBLIC, stack), bare.cpu_seconds, [])


def peer(kind: type[Peer], count: int, stack: ExitStack) -> Side | None:
    """Return the peer with its streams open; None, and a line that says why, where it cannot take part."""
    with ExitStack() as own:
        try:
            server = own.enter_context(kind())
            writer = own.enter_context(poster(*server.publish_to, server.body))
            streams = opened(server.port, count, server.path, own, "--in-flight", server.in_flight)
        except Missing as missing:
            print(f"{kind.title}: not here ({missing}).", flush=True)
            return None
        except Failed as failed:
            print(f"{kind.title} did not take {count:,} streams: {failed}", flush=True)
            return None
        stack.push(own.pop_all())
    return Side(kind.title, writer.line, streams, server.cpu_seconds, [])


def opened(port: int, count: int, path: str, stack: ExitStack, *options: str | int) -> Streams:
    streams = stack.enter_context(Streams(port, count, path, "--each", *options))
    streams.await_all(OPEN_S)
    return streams


def send(side: Side) -> None:
    """Send one event and wait until the server has nothing more to do for it."""
    before = side.cpu_seconds()
    side.send()
    used, until = before, time.monotonic() + LONGEST_EVENT_S
    while time.monotonic() < until:
        time.sleep(PAUSE_S)
        now = side.cpu_seconds()
        if now - used < PAUSE_S / 4:
            break
        used = now
    side.spent.append(side.cpu_seconds() - before)


def complete_events(streams: Streams, expected: int) -> list[dict[str, Any]]:
    """Return the events in order without the first; raises `Failed` when any is missing or doubled."""
    result = streams.finish()
    events = [event for event in result["each"] if event["streams"] == streams.count]
    if len(events) != expected or result["deliveries"]["count"] != expected * streams.count:
        seen = f"{result['deliveries']}, {result['streams']}"
        raise Failed(f"{expected} events to {streams.count} streams were not delivered once each: {seen}")
    return sorted(events, key=lambda event: int(event["t"]))[1:]


def most_of(side: Side) -> list[dict[str, Any]]:
    """Return a peer's events but the first; one that lost a few streams is still timed, and it is said."""
    result = side.streams.finish()
    if lost := side.streams.count - min((event["streams"] for event in result["each"]), default=0):
        print(f"{side.title}: {lost:,} of {side.streams.count:,} streams did not get every event.", flush=True)
    counted = [event for event in result["each"] if event["streams"] >= side.streams.count * (1 - MAY_LOSE)]
    return sorted(counted, key=lambda event: int(event["t"]))[1:]


def beside_limit(plan: Plan, events: dict[str, list[dict[str, Any]]], ours: Side, bare: Side) -> list[Figure]:
    mine, others = events[ours.title], events[bare.title]
    return [
        Figure(
            name=f"publish() until all {plan.streams:,} streams have it",
            unit="ms",
            samples=[since_publication(event) for event in mine],
            yardstick=LIMIT,
            beside=[since_publication(event) for event in others],
            aim="at most 1.25 ×",
        ),
        Figure(
            name="first stream until last stream",
            unit="ms",
            samples=[since_first(event) for event in mine],
            yardstick=LIMIT,
            beside=[since_first(event) for event in others],
        ),
        Figure(
            name="processor time of a delivery",
            unit="µs",
            samples=[sum(ours.spent[1:]) / len(mine) / plan.streams * 1e6],
            yardstick=LIMIT,
            beside=[sum(bare.spent[1:]) / len(others) / plan.streams * 1e6],
        ),
    ]


def ahead(plan: Plan, events: dict[str, list[dict[str, Any]]], side: Side) -> Figure:
    return Figure(
        name=f"publication until all {plan.streams:,} streams have it",
        unit="ms",
        samples=[since_publication(event) for event in events["Taskbell"]],
        yardstick=side.title,
        beside=[since_publication(event) for event in events[side.title]],
        aim="under 1 ×",
    )


def since_publication(event: dict[str, Any]) -> float:
    return float(event["last"] - event["t"]) / 1e6


def since_first(event: dict[str, Any]) -> float:
    return float(event["last"] - event["first"]) / 1e6
