"""The clock that tests set: all of a process's wall clocks follow, and its monotonic clock does not."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.servers.process import Unavailable
from tests.servers.wall_clock import WallClock

pytestmark = pytest.mark.proof

# Says what time it is each time it is asked.
PROGRAM = """
import datetime, sqlite3, sys, time
asked = sqlite3.connect(":memory:")
for line in sys.stdin:
    [shown] = asked.execute("select strftime('%s', 'now')").fetchone()
    print(time.time(), datetime.datetime.now().timestamp(), float(shown), time.monotonic(), flush=True)
"""


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    try:
        return WallClock(tmp_path, "test")
    except Unavailable as error:
        missing(error)
        raise


def test_a_running_process_follows_its_clock(clock: WallClock) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=clock.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with program:
        assert program.stdin is not None
        assert program.stdout is not None
        for seconds in (0, 86_400, -3_600, 10 * 365 * 86_400, 0):
            clock.set_by(seconds)
            time.sleep(2)
            program.stdin.write("\n")
            program.stdin.flush()
            *shown, monotonic = map(float, program.stdout.readline().split())
            assert all(abs(one - time.time() - seconds) < 3 for one in shown)
            assert abs(monotonic - time.monotonic()) < 3
        program.stdin.close()
