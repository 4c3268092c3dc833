"""What a writer pays: `publish()` and the COMMIT after it, beside a plain row of the same size."""

from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, actor

# Each is many thousand rows.
MOST_ROUNDS: Final = 3


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    figures = []
    for engine in plan.databases:
        words = ("--inserts", plan.inserts, "--rounds", min(plan.pairs, MOST_ROUNDS))
        with databases.fresh(engine) as database, actor("writer", *words, core=LOAD_CORE, env=database.env) as writer:
            rounds = writer.result(600)
        figures += [
            Figure(
                name=f"{engine}, {what}",
                unit="µs",
                samples=[one[f"publish_{key}_us"] for one in rounds],
                yardstick=yardstick,
                beside=[one[f"plain_{key}_us"] for one in rounds],
            )
            for key, what, yardstick in (
                ("insert", "publish() in a transaction", "plain INSERT"),
                ("commit", "COMMIT after publish()", "after the plain row"),
            )
        ]
    return figures
