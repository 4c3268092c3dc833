"""A storm: signed-in streams are cut at once and come back with their passes, to what each missed meanwhile."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from bench.queries import queries_of_pool
from bench.rig.databases import Database, Databases
from bench.rig.figures import LIMIT, Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, Failed, actor
from bench.rig.servers import OWN, PUBLIC, Gateway, Limit, Streams, handshakes

# Every query of the pool in a storm shall be the replay's: no session is read again before it is over.
SETTINGS: Final = {"RECHECK": 3600}
LONGEST_S: Final = 600.0
SETTLE_S: Final = 2.0
# Its events are a million and more, and all of them are written, numbered and kept.
MOST_ROUNDS: Final = 3


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    figures = []
    for engine in plan.databases:
        storms, bare = [], []
        for _ in range(min(plan.pairs, MOST_ROUNDS)):
            with databases.fresh(engine) as database:
                storms.append(one_storm(plan, database))
            with Limit(plan.streams, pad=0) as limit:
                bare.append(float(handshakes(limit.port, plan.streams, PUBLIC)["handshakes"]["per_second"]))
        figures += [
            Figure(
                name=f"handshakes with a pass, {engine}",
                unit="/s",
                samples=[storm["handshakes"]["per_second"] for storm in storms],
                yardstick=LIMIT,
                beside=bare,
                aim="over 5,000",
            ),
            Figure(
                name=f"{plan.streams:,} streams back and caught up with {plan.missed} events each, {engine}",
                unit="s",
                samples=[storm["storm"]["seconds"] for storm in storms],
            ),
            Figure(
                name=f"queries for each 1,000 events of the log, {engine}",
                unit="",
                samples=[storm["queries"] / storm["thousands"] for storm in storms],
                aim="bounded",
            ),
        ]
    return figures


def one_storm(plan: Plan, database: Database) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        cookies, queries = Path(folder) / "cookies", Path(folder) / "queries"
        settings = json.dumps(SETTINGS)
        with Gateway(database, BENCH_TASKBELL=settings, BENCH_QUERIES=str(queries)) as gateway:
            with actor("people", plan.people, cookies, core=LOAD_CORE, env=database.env) as people:
                people.result(120)
            options = ("--cookies", cookies, "--storm", "--missed", plan.missed, "--seconds", LONGEST_S)
            with Streams(gateway.port, plan.streams, OWN, *(str(option) for option in options)) as streams:
                streams.await_all(LONGEST_S)
                streams.line()
                streams.await_line("cut", LONGEST_S)
                with actor("postman", plan.missed, core=LOAD_CORE, env=database.env) as postman:
                    events = postman.result(LONGEST_S)
                time.sleep(SETTLE_S)
                before = queries_of_pool(queries)
                streams.line()
                seen: dict[str, Any] = streams.result(LONGEST_S)
            return checked(seen, plan) | {
                "queries": queries_of_pool(queries) - before,
                "thousands": events / 1000,
            }


def checked(seen: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Return the result of the load tool, or raise `Failed` where an event is missing, doubled or out of order."""
    streams, storm = seen["streams"], seen["storm"]
    whole = streams["opened"] == storm["caught_up"] == plan.streams and not storm["wrong"] and not streams["closed"]
    if not whole:
        raise Failed(f"of {plan.streams} streams not all came back and caught up: {streams} {storm}")
    return seen
