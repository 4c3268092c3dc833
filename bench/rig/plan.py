"""How much is measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.rig.databases import ENGINES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size of a run. `pairs` is how often each figure is taken, always in turn with what stands beside it."""

    pairs: int = 9
    streams: int = 15_000
    peers: int = 15_000
    flooded: int = 10_000
    flood_seconds: float = 30.0
    churn: int = 200_000
    served: int = 5_000
    good: int = 5_000
    bad: int = 1_000
    people: int = 1_000
    handshakes: int = 2_000
    missed: int = 100
    seconds: float = 3.0
    rows: int = 20_000
    inserts: int = 500
    databases: Sequence[str] = ENGINES


# To see that everything still runs; no figure of it means anything.
QUICK = Plan(
    pairs=1,
    streams=300,
    peers=300,
    flooded=100,
    flood_seconds=2.0,
    churn=2_000,
    served=200,
    good=100,
    bad=30,
    people=30,
    handshakes=100,
    missed=20,
    seconds=1.0,
    rows=1_000,
    inserts=50,
)
