"""Events a second that a tick numbers, beside plain SQL that only moves the same rows."""

from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure, quantile
from bench.rig.plan import Plan
from bench.rig.processes import SERVER_CORE, actor

# Each is many thousand rows.
MOST_ROUNDS: Final = 3


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    figures = []
    for engine in plan.databases:
        words = ("--rows", plan.rows, "--rounds", min(plan.pairs, MOST_ROUNDS))
        with databases.fresh(engine) as database, actor("ticker", *words, core=SERVER_CORE, env=database.env) as ticker:
            rounds = ticker.result(600)
        figures += [
            Figure(
                name=f"{engine}, events numbered by ticks",
                unit="/s",
                samples=[plan.rows / one["tick_seconds"] for one in rounds],
                yardstick="plain SQL move",
                beside=[plan.rows / one["plain_seconds"] for one in rounds],
            ),
            Figure(
                name=f"{engine}, one tick of a full batch",
                unit="ms",
                samples=[quantile(one["ticks_ms"], 0.5) for one in rounds],
            ),
        ]
    return figures
