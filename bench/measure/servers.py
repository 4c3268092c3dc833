"""What each ASGI server costs: memory of a stream, and one event to all, beside `taskbell serve`."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from bench.measure.fanout import complete_events, since_publication
from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import Failed, Process
from bench.rig.servers import PUBLIC, SERVE, Gateway, Streams, publisher

OURS: Final = "taskbell serve"
APPLICATION: Final = "bench.asgi:application"
SHIM: Final = "taskbell.gateway.server:StreamProtocol"
UVICORN: Final = ("uvicorn", APPLICATION, "--port", "PORT", "--log-level", "warning", "--no-access-log")
GUNICORN: Final = ("gunicorn", "-k", "asgi", "-b", "127.0.0.1:PORT")
GRANIAN: Final = ("granian", "--interface", "asgi", "--port", "PORT")
# Both serve about a thousand requests at a time unless told otherwise, and a stream is one for as long as it is open.
MANY: Final = "20000"
SERVERS: Final = {
    OURS: SERVE,
    "uvicorn with the shim": (*UVICORN, "--http", SHIM),
    "uvicorn": UVICORN,
    "gunicorn": (*GUNICORN, "--worker-connections", MANY, "--log-level", "warning", APPLICATION),
    "granian": (*GRANIAN, "--backpressure", MANY, "--no-access-log", APPLICATION),
}
SETTLE_S: Final = 3.0
PAUSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Side:
    title: str
    writer: Process
    streams: Streams
    kilobytes: float


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    with ExitStack() as stack:
        sides = [side for title in SERVERS if (side := start(title, plan.served, databases, stack))]
        time.sleep(SETTLE_S)
        for number in range(plan.pairs + 1):
            for side in sides if number % 2 else reversed(sides):
                side.writer.line()
                time.sleep(PAUSE_S)
        times = {
            side.title: [since_publication(event) for event in complete_events(side.streams, plan.pairs + 1)]
            for side in sides
        }
    return [
        *(
            Figure(
                name=f"{side.title}, memory for each of {plan.served:,} streams", unit="KiB", samples=[side.kilobytes]
            )
            for side in sides
        ),
        *(
            Figure(
                name=f"{side.title}, publish() until all {plan.served:,} streams have it",
                unit="ms",
                samples=times[side.title],
                yardstick=OURS if side.title != OURS else "",
                beside=times[OURS] if side.title != OURS else (),
            )
            for side in sides
        ),
    ]


def start(title: str, count: int, databases: Databases, stack: ExitStack) -> Side | None:
    """Return a server with its streams open; None, and a line that says why, where it is not installed."""
    database = stack.enter_context(databases.fresh())
    try:
        gateway = stack.enter_context(Gateway(database, SERVERS[title]))
    except Failed as failed:
        if "No module named" not in str(failed):
            raise
        print(f"{title}: not here (pip install {title}).", flush=True)
        return None
    writer = stack.enter_context(publisher(database))
    time.sleep(SETTLE_S)
    before = gateway.resident_bytes()
    streams = stack.enter_context(Streams(gateway.port, count, PUBLIC, "--each"))
    streams.await_all()
    time.sleep(SETTLE_S)
    return Side(title, writer, streams, (gateway.resident_bytes() - before) / count / 1024)
