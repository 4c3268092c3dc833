"""Hundreds of streams are cut at once, and come back by their passes to what each of them missed."""

import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.queries import queries_of_pool
from bench.rig.build import tool
from taskbell import publish_many
from taskbell.gateway.replay import GATHER_SECONDS
from taskbell.models import LogHead
from taskbell.store.missed import PAGE_MARKS
from tests.gateway.real import DATABASES, Make
from tests.servers.process import Process

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the load tool is written in C, and there is no compiler"),
]

PEOPLE, STREAMS, MISSED = 60, 300, 100
#: Nobody is asked about again meanwhile, and the window is too small to hold anything.
SETTINGS = {"RECHECK": 3600, "WINDOW_BYTES": 1, "STREAMS_PER_ADDRESS": STREAMS, "PING": 45}


class Storm(Process):
    """The load tool, which checks that each stream gets its events, in order and none twice."""

    def __init__(self, port: int, cookies: Path, log: Path) -> None:
        options = f"--port {port} --streams {STREAMS} --path /events/ --missed {MISSED} --seconds 60 --storm --cookies"
        argv = [str(tool("streams")), *options.split(), str(cookies)]
        with log.open("wb") as said:
            super().__init__(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        self.said = log

    def sign(self) -> None:
        assert self.stdin is not None
        self.stdin.write("\n")
        self.stdin.flush()

    def await_line(self, line: str) -> None:
        self.wait_until(lambda: line in self.said.read_text().splitlines(), what=line, timeout=60)


@DATABASES
def test_a_storm_is_caught_up_by_few_queries_and_no_session(project: Make, database: str, tmp_path: Path) -> None:
    one = project(database)
    one.configure(**SETTINGS)
    people = [one.person(f"person-{number}") for number in range(PEOPLE)]
    cookies, queries = tmp_path / "cookies", tmp_path / "queries"
    cookies.write_text("".join(f"{one.sign_in(person)}\n" for person in people))
    one.env |= {"DJANGO_SETTINGS_MODULE": "tests.gateway.counted", "QUERIES": str(queries)}
    gateway = one.serve()
    with Storm(gateway.port, cookies, tmp_path / "said") as storm:
        storm.await_line(f"ready {STREAMS}")
        storm.sign()
        storm.await_line(f"cut {STREAMS}")
        events = [
            (person, "message", {"stamp": f"t={10**9 + number}"}) for number in range(MISSED) for person in people
        ]
        publish_many(events)
        gateway.wait_until(lambda: head() >= PEOPLE * MISSED, what="at the last of them", timeout=60)
        before = queries_of_pool(queries)
        storm.sign()
        output, _ = storm.communicate(timeout=90)
    seen = json.loads(output)
    assert seen["streams"]["opened"] == seen["storm"]["caught_up"] == STREAMS, seen
    assert (seen["storm"]["wrong"], seen["streams"]["closed"]) == (0, 0), seen
    assert seen["storm"]["passes"] == STREAMS, "by session the first time, and then by the pass"
    pages = math.ceil(STREAMS * MISSED / PAGE_MARKS)
    looks = math.ceil(seen["storm"]["seconds"] / GATHER_SECONDS)
    assert queries_of_pool(queries) - before <= 3 * pages + 6 * looks
    assert queries_of_pool(queries) - before < STREAMS


def head() -> int:
    return LogHead.objects.get().seq
