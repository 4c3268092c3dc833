"""The drain of thousands: a word to each, all in time, and nobody comes back in one moment."""

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bench.rig.build import tool
from taskbell.conf import DEFAULTS
from taskbell.gateway.app import LAST_BYTES_SECONDS, RETRY_SPREAD_MS
from tests.management.test_status_address import get
from tests.servers.process import Process, free_port
from tests.servers.project import Project

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(shutil.which("cc") is None, reason="the load tool is written in C, and there is no compiler"),
]

NS = 1_000_000_000
# Machines are busy: what is told of is a mean of many seconds, one of which may lag.
MOST_IN_ONE_SECOND = 3.0
# The last bytes, loops and connections; and a machine that others keep busy.
AFTER_DRAIN_SECONDS = LAST_BYTES_SECONDS + 4


class Herd:
    """The load tool with many streams open; it ends when they have ended."""

    def __init__(self, one: Project, port: int, count: int) -> None:
        self.count = count
        self._seen, self._ready = one.folder / "herd.json", one.folder / "herd.ready"
        words = ["--port", str(port), "--streams", str(count), "--path", "/events/public:news/", "--seconds", "300"]
        with self._seen.open("w") as seen, self._ready.open("w") as ready:
            self._process = Process([str(tool("streams")), *words, "--byes"], stdout=seen, stderr=ready)
        one.processes.append(self._process)
        self._process.wait_until(self._is_open, what="open", timeout=120)

    def _is_open(self) -> bool:
        ready = self._ready.read_text()
        assert ready in {"", f"ready {self.count}\n"}, ready
        return bool(ready)

    def result(self) -> dict[str, Any]:
        """Return what the tool saw, once every stream has ended."""
        assert self._process.wait(120) == 0
        seen: dict[str, Any] = json.loads(self._seen.read_text())
        return seen


class Watch(threading.Thread):
    """Asks for readiness and liveness all the time, and notes when each was gone."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.not_ready_at = self.gone_at = 0
        self.start()

    def run(self) -> None:
        while not self.gone_at:
            if not self.not_ready_at and get(self.port, "/readyz")[0] != 200:
                self.not_ready_at = time.monotonic_ns()
            if get(self.port, "/livez")[0] != 200:
                self.gone_at = time.monotonic_ns()
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("streams", "seconds"),
    [
        pytest.param(1_500, 5, id="1,500 in 5 s"),
        pytest.param(15_000, DEFAULTS["DRAIN"], id="15,000 by default", marks=pytest.mark.slow),
    ],
)
def test_a_herd_is_sent_away_in_time_and_comes_back_one_by_one(
    project: Callable[[str], Project], streams: int, seconds: int
) -> None:
    one = project("sqlite")
    one.configure(DRAIN=seconds, STREAMS_PER_PROCESS=streams)
    status = free_port()
    gateway = one.serve("--status", f"127.0.0.1:{status}", "--notice", "2")
    herd = Herd(one, gateway.port, streams)
    watch = Watch(status)
    told_at = time.monotonic_ns()
    gateway.terminate()
    assert gateway.wait(2 + seconds + 30) == 0
    ended_at = time.monotonic_ns()
    byes = herd.result()["byes"]
    watch.join()

    assert len(byes) == streams, "each was told"
    assert all(bye["ended"] for bye in byes), "and ended in order"
    assert all(RETRY_SPREAD_MS[0] <= bye["retry_ms"] <= RETRY_SPREAD_MS[1] for bye in byes), "with a retry of its own"
    first, last = min(bye["at"] for bye in byes), max(bye["at"] for bye in byes)
    assert 0.8 * seconds <= (last - first) / NS <= seconds + LAST_BYTES_SECONDS, "over the whole time, and no longer"
    assert (ended_at - first) / NS <= seconds + AFTER_DRAIN_SECONDS
    assert told_at < watch.not_ready_at < first, "not ready before the first is sent away"
    assert watch.gone_at > last, "alive until the last was"
    assert _largest_second(byes) <= MOST_IN_ONE_SECOND * _mean_second(byes)
    print(
        f"{streams:,} streams: told within {(last - first) / NS:.1f} s, exit after {(ended_at - first) / NS:.1f} s, "
        f"largest second {_largest_second(byes):,} of mean {_mean_second(byes):,.0f}"
    )


def _returns(byes: list[dict[str, int]]) -> list[float]:
    """Return when each browser comes back, in seconds."""
    return [bye["at"] / NS + bye["retry_ms"] / 1000 for bye in byes]


def _largest_second(byes: list[dict[str, int]]) -> int:
    return max(Counter(int(moment) for moment in _returns(byes)).values())


def _mean_second(byes: list[dict[str, int]]) -> float:
    moments = _returns(byes)
    return len(moments) / (max(moments) - min(moments))
