"""Memory while streams come and go: after each tenth of them, when none is open."""

import tempfile
import time
from pathlib import Path
from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, actor
from bench.rig.servers import OWN, PUBLIC, Gateway, handshakes

LOOKS: Final = 10
# At once; so many come and go a hundred times over.
AT_A_TIME: Final = 2_000
# One in so many is a signed-in person's, with a session read; they take five times as long.
SIGNED_IN: Final = 10
SETTLE_S: Final = 0.5


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, databases.fresh() as database, Gateway(database) as gateway:
        cookies = Path(folder) / "cookies"
        with actor("people", plan.people, cookies, core=LOAD_CORE, env=database.env) as people:
            people.result(60)
        resident = [come_and_go(gateway, plan.churn // LOOKS, cookies) for _ in range(LOOKS)]
    settled = resident[1:]
    return [
        Figure(name=f"resident memory over {plan.churn:,} streams that came and went", unit="MB", samples=settled),
        Figure(
            name=f"its growth from {plan.churn * 2 // LOOKS:,} to {plan.churn:,}",
            unit="bytes a stream",
            samples=[(settled[-1] - settled[0]) * 1e6 / (plan.churn * (LOOKS - 2) / LOOKS)],
            aim="flat",
        ),
    ]


def come_and_go(gateway: Gateway, streams: int, cookies: Path) -> float:
    """Open and close so many, some at a time; return the megabytes that are held afterwards."""
    left = streams
    while left > 0:
        now = min(left, AT_A_TIME)
        own = max(1, now // SIGNED_IN)
        handshakes(gateway.port, own, OWN, "--cookies", cookies)
        handshakes(gateway.port, max(1, now - own), PUBLIC)
        left -= now
    time.sleep(SETTLE_S)
    return gateway.resident_bytes() / 1e6
