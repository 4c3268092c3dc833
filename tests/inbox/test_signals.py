"""Signals from real gateways: one sends, and when it is killed another goes on."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taskbell import notify
from tests.servers.project import Gateway, Project

pytestmark = pytest.mark.proof

LEASE = 2
PATIENCE = 60


class Paper:
    """What receivers wrote down."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self) -> list[tuple[int, str]]:
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [(int(pid), title) for pid, _, title in (line.partition(" ") for line in lines)]

    def until(self, title: str) -> list[tuple[int, str]]:
        """Wait until this was heard; return everything."""
        deadline = time.monotonic() + PATIENCE
        while title not in [heard for _, heard in self.lines()]:
            assert time.monotonic() < deadline, f"{title!r} was not heard, but {self.lines()}"
            time.sleep(0.02)
        return self.lines()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_one_gateway_sends_and_another_takes_over(project: Callable[[str], Project], database: str) -> None:
    site = project(database)
    paper = Paper(site.folder / "heard")
    site.configure(LEASE=LEASE)
    site.env |= {"DJANGO_SETTINGS_MODULE": "tests.inbox.settings", "TASKBELL_TEST_HEARD": str(site.folder / "heard")}
    gateways: dict[int, Gateway] = {gateway.pid: gateway for gateway in (site.serve(), site.serve())}
    ada = site.person("ada")
    said = 0

    def say(count: int) -> list[tuple[int, str]]:
        nonlocal said
        for _ in range(count):
            said += 1
            notify(ada, str(said))
        return paper.until(str(said))

    begin(paper, lambda title: notify(ada, title))
    heard = [line for line in say(20) if line[1].isdecimal()]
    assert [title for _, title in heard] == [str(n) for n in range(1, 21)]
    [holder] = {pid for pid, _ in heard}
    os.kill(holder, signal.SIGKILL)
    heard = [line for line in say(20) if line[1].isdecimal()]
    # At least once, and in order.
    assert list(dict.fromkeys(title for _, title in heard)) == [str(n) for n in range(1, 41)]
    [other] = set(gateways) - {holder}
    assert {pid for pid, title in heard if int(title) > 20} == {other}


def begin(paper: Paper, say: Callable[[str], None]) -> None:
    """Say something until it is heard: what was before the first gateway looked is not told."""
    deadline = time.monotonic() + PATIENCE
    while not paper.lines():
        assert time.monotonic() < deadline, "nothing was ever heard"
        say("Is anybody there?")
        time.sleep(0.2)
