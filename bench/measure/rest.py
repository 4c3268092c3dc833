"""What Taskbell adds to a Celery worker that waits for work."""

from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, SERVER_CORE, actor
from bench.rig.servers import Valkey

# Two beats of a worker at the default LEASE.
WINDOW_SECONDS: Final = 10.0
LONGEST_S: Final = 60.0

UNITS: Final = {
    "main_us_a_second": ("processor time a second of a worker's main process", "µs"),
    "child_us_a_second": ("processor time a second of a worker's child", "µs"),
    "main_kib": ("resident memory of a worker's main process", "KiB"),
    "child_kib": ("memory of its own of a worker's child", "KiB"),
}


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    """Two workers wait side by side, one without Taskbell installed; windows of both are the same seconds."""
    words = ("--rounds", plan.pairs, "--seconds", WINDOW_SECONDS)
    alone = {"BENCH_ALONE": "yes"}
    with databases.fresh() as database, Valkey() as broker:
        to = ("--broker", broker.url, *words, "--queue")
        with (
            actor("worker", *to, "with", core=SERVER_CORE, env=database.env) as ours,
            actor("worker", *to, "without", core=LOAD_CORE, env=database.env | alone) as bare,
        ):
            seconds = LONGEST_S + plan.pairs * WINDOW_SECONDS
            rounds, beside = ours.result(seconds), bare.result(seconds)
    figures = [
        Figure(
            name=f"{name} adds",
            unit=unit,
            samples=[one[key] - other[key] for one, other in zip(rounds, beside, strict=True)],
            yardstick="Celery alone",
            beside=[other[key] for other in beside],
        )
        for key, (name, unit) in UNITS.items()
    ]
    statements = [one["statements_a_minute"] for one in rounds]
    return [Figure(name="statements of a worker at rest", unit="a minute", samples=statements), *figures]
