"""Of several gateways one ticks while events come, so that nobody waits for a turn."""

import time
from typing import Final

import pytest

from tests.gateway.real import DATABASES, Make, is_, say
from tests.management.test_status_address import LOCAL, numbers
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project

# Several times POLL, at each of which the other one would take its turn.
SECONDS: Final = 6.0
pytestmark = pytest.mark.proof


class Counted:
    """A gateway that tells what it did."""

    def __init__(self, project: Project) -> None:
        self.port = free_port()
        self.gateway: Gateway = project.serve("--status", f"{LOCAL}:{self.port}")

    @property
    def ticks(self) -> float:
        return numbers(self.port).get("taskbell_ticks_total", 0)


def publish_for(seconds: float) -> int:
    number, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        say(number := number + 1)
    return number


@DATABASES
def test_one_ticks_as_long_as_events_come(project: Make, database: str) -> None:
    one = project(database)
    one.configure(POLL=1)
    both = [Counted(one), Counted(one)]
    with (
        both[0].gateway.stream("/events/public:news/") as first,
        both[1].gateway.stream("/events/public:news/") as second,
    ):
        for stream in (first, second):
            stream.until("ping")
        say("begin")
        for stream in (first, second):
            stream.until(is_("begin"))
        before = [counted.ticks for counted in both]
        last = publish_for(SECONDS)
        for stream in (first, second):
            stream.until(is_(last))
        made = sorted(counted.ticks - ticks for counted, ticks in zip(both, before, strict=True))
    assert made[0] == 0 < made[1]
