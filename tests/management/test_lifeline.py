"""A worker and the process that started it: the one that is left behind ends."""

import signal
import subprocess
import sys

import pytest

from taskbell.management.serving.lifeline import pair

# A worker that waits for nothing but its end.
WORKER = """
import sys, threading, django
django.setup()
from taskbell.management.serving.lifeline import Lifeline, Post

def report():
    {report}

Lifeline(Post(number=1, fd=int(sys.argv[1]), port=0), report).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("report", ["return {}", "raise RuntimeError('half started')"])
def test_whoever_is_left_behind_ends_whatever_it_has_to_say(report: str) -> None:
    ours, theirs = pair()
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER.format(report=report), str(theirs.fileno())], pass_fds=[theirs.fileno()]
    )
    theirs.close()
    try:
        assert worker.poll() is None
        ours.close()
        assert worker.wait(30) == -signal.SIGTERM
    finally:
        worker.kill()
        worker.wait()
