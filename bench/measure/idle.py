"""Resident memory of one idle stream: signed-in people, ten streams each, nothing published."""

import tempfile
import time
from pathlib import Path
from typing import Final

from bench.rig.databases import Database, Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, actor
from bench.rig.servers import OWN, Gateway, Streams, handshakes

# Opened and closed before the first look: imports, thread pools and buffers are there then.
WARM_UP: Final = 50
# The pings after connecting and what the allocator gives back are over.
SETTLE_S: Final = 3.0
# A gateway can be filled once; more than this many of them says little more.
MOST_ROUNDS: Final = 2


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    rounds = []
    for _ in range(min(plan.pairs, MOST_ROUNDS)):
        with databases.fresh() as database:
            rounds.append(one_gateway(plan, database))
    per_stream, threads = zip(*rounds, strict=True)
    streams = f"{plan.streams:,} signed-in streams"
    return [
        Figure(name=f"memory for each of {streams}", unit="KiB", samples=per_stream, aim="at most 3"),
        Figure(name=f"threads for {streams}", unit="more", samples=threads, aim="0"),
    ]


def one_gateway(plan: Plan, database: Database) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder, Gateway(database) as gateway:
        cookies = Path(folder) / "cookies"
        with actor("people", plan.people, cookies, core=LOAD_CORE, env=database.env) as people:
            people.result(60)
        handshakes(gateway.port, min(WARM_UP, plan.streams), OWN, "--cookies", cookies)
        time.sleep(1)
        before, threads_before = gateway.resident_bytes(), gateway.threads()
        with Streams(gateway.port, plan.streams, OWN, "--cookies", cookies) as streams:
            streams.await_all()
            time.sleep(SETTLE_S)
            grown, more_threads = gateway.resident_bytes() - before, gateway.threads() - threads_before
            streams.finish()
    return grown / plan.streams / 1024, more_threads
