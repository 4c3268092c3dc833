"""A process that publishes and ends at once is heard too, and does not wait for a server that hangs."""

import subprocess
import sys
from collections.abc import Callable
from time import monotonic

import pytest

from tests.servers.project import Project
from tests.wakeups.holes import HOLES

# Far over what a ring takes, far under the poll interval that would hide a lost one.
SOON = 5
POLL = 60
# A start of Python with Django, and LAST_RING.
END = 5

PUBLISH = """
import django; django.setup()
from taskbell import publish
publish("public:news", "message", {"a": 1})
"""


def test_the_event_of_a_command_is_rung_for(project: Callable[[str], Project]) -> None:
    site = project("postgres")
    site.configure(POLL=POLL)
    gateway = site.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.take(1)
        site.run("taskbell", "publish", "public:news", "message", '{"first": true}')
        # By now the gateway ticks and listens; what follows is found by a ring or in a minute.
        assert stream.until("message")
        began = monotonic()
        site.run("taskbell", "publish", "public:news", "message", '{"a": 1}')
        stream.until("message")
        assert monotonic() - began < SOON


@pytest.mark.parametrize("hole", HOLES)
def test_a_server_that_hangs_does_not_hold_the_end_of_a_process(hole: str, project: Callable[[str], Project]) -> None:
    site = project("sqlite")
    with HOLES[hole]() as port:
        site.configure(WAKEUP=f"redis://127.0.0.1:{port}/0")
        began = monotonic()
        subprocess.run([sys.executable, "-c", PUBLISH], env=site.env, cwd=site.folder, check=True, timeout=60)
        assert monotonic() - began < END
