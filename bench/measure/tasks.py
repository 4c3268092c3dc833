"""What Taskbell adds to a Celery task: to publish it, to run it, and to each step of `track`."""

from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, actor

# A carrier is somebody's, and nobody is shown it.
WHOSE: Final = {"unowned": "an unowned task", "carrier": "a carrier", "owned": "an owned task"}


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    words = ("--tasks", plan.inserts, "--rounds", plan.pairs)
    with databases.fresh() as database, actor("tasks", *words, core=LOAD_CORE, env=database.env) as process:
        rounds = process.result(600)
    figures = [
        Figure(
            name=f"{what} {name} adds",
            unit="µs",
            samples=[one[f"{where}_{whose}_us"] - one[f"{where}_bare_us"] for one in rounds],
            yardstick="Celery alone",
            beside=[one[f"{where}_bare_us"] for one in rounds],
            aim="under 20" if whose == "unowned" else "",
        )
        for where, what in (("publish", "publishing"), ("work", "running"))
        for whose, name in WHOSE.items()
    ]
    figures += [
        Figure(
            name=f"queries of publishing {WHOSE[whose]}",
            unit="queries",
            samples=[one[f"queries_{whose}"] for one in rounds],
            aim=aim,
        )
        for whose, aim in (("unowned", "0"), ("carrier", "0"), ("owned", "one INSERT in a savepoint"))
    ]
    added = [one["bytes_owned"] for one in rounds]
    longer = Figure(name="headers of an owned task are longer by", unit="bytes", samples=added)
    return [*figures, longer, *steps(rounds)]


def steps(rounds: list[dict[str, float]]) -> list[Figure]:
    track, bare = ([one[f"step_{what}_ns"] for one in rounds] for what in ("track", "bare"))
    figures = [Figure(name="one step of track()", unit="ns", samples=track, yardstick="bare loop", beside=bare)]
    if all("step_tqdm_ns" in one for one in rounds):  # pip install tqdm
        tqdm = [one["step_tqdm_ns"] for one in rounds]
        figures.append(
            Figure(
                name="one step of track()", unit="ns", samples=track, yardstick="tqdm", beside=tqdm, aim="at most 1 ×"
            )
        )
    return figures
