"""Two hundred events a second to every stream, from rows in the log: nothing missing, and how late they are."""

from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import Failed
from bench.rig.servers import PUBLIC, Gateway, Streams, publisher

RATE: Final = 200
# What piled up at the end may take this long.
LAST_EVENT_S: Final = 60.0
# Each is half a minute.
MOST_ROUNDS: Final = 2


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    rounds = [one_flood(plan, databases) for _ in range(min(plan.pairs, MOST_ROUNDS))]
    what = f"{RATE} events/s to {plan.flooded:,} streams"
    return [
        Figure(name=f"{what}, deliveries", unit="/s", samples=[one["per_second"] for one in rounds]),
        Figure(name=f"{what}, missing", unit="deliveries", samples=[one["missing"] for one in rounds], aim="0"),
        Figure(name=f"{what}, p50", unit="ms", samples=[one["p50"] for one in rounds]),
        Figure(name=f"{what}, p99", unit="ms", samples=[one["p99"] for one in rounds], aim="under 200"),
    ]


def one_flood(plan: Plan, databases: Databases) -> dict[str, float]:
    count = int(RATE * plan.flood_seconds)
    longest = plan.flood_seconds + LAST_EVENT_S
    with (
        databases.fresh() as database,
        Gateway(database) as gateway,
        Streams(gateway.port, plan.flooded, PUBLIC, "--events", count, "--seconds", longest + 60) as streams,
    ):
        streams.await_all()
        with publisher(database, "--rate", RATE, "--count", count) as writer:
            writer.result(longest)
            seen = streams.result(longest)
    if seen["streams"]["closed"] or seen["deliveries"]["count"] > count * plan.flooded:
        raise Failed(f"streams were cut, or events doubled: {seen['streams']}, {seen['deliveries']}")
    return {
        "per_second": seen["deliveries"]["per_second"],
        "missing": count * plan.flooded - seen["deliveries"]["count"],
        "p50": seen["latency_ms"]["p50"],
        "p99": seen["latency_ms"]["p99"],
    }
