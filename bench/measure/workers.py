"""Several workers on one port: how evenly the kernel spreads streams, and one event to all of them."""

import re
import time
import urllib.request
from contextlib import ExitStack
from typing import Any, Final

from bench.measure.fanout import Side, complete_events, opened, send, since_publication
from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import Failed
from bench.rig.servers import HOST, PUBLIC, SERVE, Gateway, free_port, publisher

WORKERS: Final = 2
START_S: Final = 30.0
# Reports of workers are a second old at most.
SETTLE_S: Final = 3.0


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    """Every worker gets as many streams as one process otherwise; a load tool for each, as each may open as many."""
    with ExitStack() as stack:
        status = free_port()
        many, herds = gateway(stack, databases, plan.streams, "--workers", WORKERS, "--status", f"{HOST}:{status}")
        single, alone = gateway(stack, databases, plan.streams)
        time.sleep(SETTLE_S)
        held = numbers(status, "streams")
        for number in range(plan.pairs + 1):
            for side in (many, single) if number % 2 else (single, many):
                send(side)
        time.sleep(SETTLE_S)
        numbered = sum(numbers(status, "events_numbered_total"))
        if numbered != plan.pairs + 1:
            raise Failed(f"{plan.pairs + 1} events were numbered {numbered:g} times")
        of_many = [complete_events(herd, plan.pairs + 1) for herd in herds]
        of_one = complete_events(alone[0], plan.pairs + 1)
    total = WORKERS * plan.streams
    return [
        Figure(
            name=f"fullest of {WORKERS} workers, of an even share of {total:,} streams",
            unit="×",
            samples=[max(held) * WORKERS / total],
        ),
        Figure(
            name=f"publish() until all {total:,} streams have it",
            unit="ms",
            samples=[max(map(since_publication, events)) for events in zip(*of_many, strict=True)],
            yardstick=f"one process, {plan.streams:,}",
            beside=[since_publication(event) for event in of_one],
            comparable=False,
        ),
    ]


def gateway(stack: ExitStack, databases: Databases, each: int, *options: str | int) -> tuple[Side, list[Any]]:
    """Return a gateway on a database of its own, and the load tools that fill its processes with `each` streams."""
    database = stack.enter_context(databases.fresh())
    server = stack.enter_context(Gateway(database, [*SERVE, *map(str, options)]))
    count = 1
    if options:
        count = WORKERS
        await_workers(int(str(options[-1]).rpartition(":")[2]))
    writer = stack.enter_context(publisher(database))
    herds = [opened(server.port, each, PUBLIC, stack) for _ in range(count)]
    return Side("Taskbell", writer.line, herds[0], server.cpu_seconds, []), herds


def await_workers(status: int) -> None:
    deadline = time.monotonic() + START_S
    while numbers(status, "ready") != [1.0] * WORKERS:
        if time.monotonic() > deadline:
            raise Failed(f"{WORKERS} workers were not ready after {START_S:g} s")
        time.sleep(0.1)


def numbers(status: int, metric: str) -> list[float]:
    """Return a metric of every worker that tells it."""
    with urllib.request.urlopen(f"http://{HOST}:{status}/metrics", timeout=5) as response:
        page = response.read().decode()
    return [float(value) for value in re.findall(rf"^taskbell_{metric}{{[^}}]*}} (\S+)$", page, re.MULTILINE)]
