"""Handshakes a second: request sent to response head read, 256 under way at once."""

import tempfile
import time
from pathlib import Path
from typing import Final

from bench.rig.databases import Databases
from bench.rig.figures import LIMIT, Figure
from bench.rig.plan import Plan
from bench.rig.processes import LOAD_CORE, Failed, actor
from bench.rig.servers import OWN, PUBLIC, Gateway, Limit, Streams, handshakes

# The streams before have been taken down.
SETTLE_S: Final = 0.5
# Thousands of sessions were read and thousands of streams cut just before. On a machine that others used, 1,000/s came
# back after 2.5 s and 3,750/s after 12 s, tried once each; why is not known.
CUT_S: Final = 12.0


def measure(plan: Plan, databases: Databases) -> list[Figure]:
    count = plan.handshakes
    signed_in, by_pass, public, bare = [], [], [], []
    with tempfile.TemporaryDirectory() as folder, databases.fresh() as database, Gateway(database) as gateway:
        cookies = Path(folder) / "cookies"
        with actor("people", plan.people, cookies, core=LOAD_CORE, env=database.env) as people:
            people.result(60)
        # A person's first visit also writes their address; that is not what a day is made of.
        handshakes(gateway.port, plan.people, OWN, "--cookies", cookies)
        for _ in range(plan.pairs):
            time.sleep(SETTLE_S)
            with Limit(count, pad=0) as limit:
                bare.append(per_second(limit.port, count, PUBLIC))
            public.append(per_second(gateway.port, count, PUBLIC))
            time.sleep(SETTLE_S)
            signed_in.append(per_second(gateway.port, count, OWN, "--cookies", cookies))
            time.sleep(SETTLE_S)
            by_pass.append(coming_back(gateway.port, count, cookies))
    return [
        Figure(name="handshakes with a session", unit="/s", samples=signed_in, yardstick=LIMIT, beside=bare),
        Figure(
            name="handshakes with a pass", unit="/s", samples=by_pass, yardstick=LIMIT, beside=bare, aim="over 5,000"
        ),
        Figure(name="handshakes on a public channel", unit="/s", samples=public, yardstick=LIMIT, beside=bare),
    ]


def per_second(port: int, count: int, path: str, *options: str | Path) -> float:
    return float(handshakes(port, count, path, *(str(option) for option in options))["handshakes"]["per_second"])


def coming_back(port: int, count: int, cookies: Path) -> float:
    """Open streams by their sessions, cut them, and return how fast they come back with their passes."""
    with Streams(port, count, OWN, "--cookies", str(cookies), "--storm") as streams:
        streams.await_all()
        streams.line()
        streams.await_line("cut", 30)
        time.sleep(CUT_S)
        streams.line()
        seen = streams.result(60)
        if seen["streams"]["opened"] != count or seen["storm"]["passes"] != count:
            raise Failed(f"of {count} streams not all came back, or not by their passes: {seen}")
        return float(seen["handshakes"]["per_second"])
