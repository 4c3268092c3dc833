"""How the cost of a delivery grows with streams, with channels, and with events in one commit."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import Process
from bench.rig.servers import PUBLIC, Gateway, Streams, publisher

# Shares of the plan's streams.
STREAMS: Final = (0.1, 0.25, 0.5, 1.0)
EVENTS: Final = (10, 100)
CHANNELS: Final = (100, 1_000)
# Processor time varies little.
MOST_ROUNDS: Final = 4
SETTLE_S: Final = 2.0
PAUSE_S: Final = 0.5


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    half, pairs = plan.streams // 2, min(plan.pairs, MOST_ROUNDS)
    return [
        *(by_streams(databases, max(1, int(plan.streams * share)), pairs) for share in STREAMS),
        *(by_events(databases, half, events, pairs) for events in EVENTS),
        *(by_channels(databases, half, channels, pairs) for channels in CHANNELS),
    ]


def by_streams(databases: Databases, streams: int, pairs: int) -> Figure:
    taken = cost(databases, streams, pairs)
    return Figure(name=f"one event, {streams:,} streams, a delivery", unit="µs", samples=taken)


def by_events(databases: Databases, streams: int, events: int, pairs: int) -> Figure:
    taken = cost(databases, streams, pairs, events=events)
    return Figure(name=f"{events} events in a commit, {streams:,} streams, a delivery", unit="µs", samples=taken)


def by_channels(databases: Databases, streams: int, channels: int, pairs: int) -> Figure:
    taken = cost(databases, streams, pairs, channels=channels)
    name = f"one event to each of {channels:,} channels, {streams:,} streams in all, a delivery"
    return Figure(name=name, unit="µs", samples=taken)


def cost(databases: Databases, streams: int, pairs: int, *, events: int = 1, channels: int = 1) -> list[float]:
    """Return the processor time of a delivery in microseconds, publication after publication."""
    deliveries = streams * events
    with (
        databases.fresh() as database,
        Gateway(database) as gateway,
        publisher(database, "--together", events, "--channels", channels) as writer,
        all_open(gateway, streams, channels),
    ):
        time.sleep(SETTLE_S)
        return [spent(gateway, writer) / deliveries * 1e6 for _ in range(pairs + 1)][1:]


def spent(gateway: Gateway, writer: Process) -> float:
    before = gateway.cpu_seconds()
    writer.line()
    time.sleep(PAUSE_S)
    while (now := gateway.cpu_seconds()) - before and _still_busy(gateway, now):
        pass
    return gateway.cpu_seconds() - before


def _still_busy(gateway: Gateway, before: float) -> bool:
    time.sleep(PAUSE_S)
    return gateway.cpu_seconds() - before > PAUSE_S / 4


@contextmanager
def all_open(gateway: Gateway, streams: int, channels: int) -> Iterator[None]:
    path = PUBLIC if channels == 1 else f"{PUBLIC.rstrip('/')}-%d/"
    with Streams(gateway.port, streams, path, "--paths", channels) as opened:
        opened.await_all()
        yield
        opened.finish()
