"""A process that rings, forks, and rings on both sides: run by test_bell.py, which says by a line when to go on.

With a number, a ring that nobody answers takes that many seconds.
"""

import os
import sys

import django

from taskbell.wakeups import server
from taskbell.wakeups.bell import ring_soon


def ring_as(name: str) -> None:
    """Ring, tell so, and wait for a word."""
    ring_soon("default")
    print(name, flush=True)
    sys.stdin.readline()


def main() -> None:
    django.setup()
    ring_as("parent")
    child = os.fork()
    if child == 0:
        # Then an ordinary end, with all that Python does there.
        ring_as("child")
        return
    assert os.waitpid(child, 0)[1] == 0
    ring_as("parent again")


if __name__ == "__main__":
    server.ANSWER_TIME = float(sys.argv[1]) if sys.argv[1:] else server.ANSWER_TIME  # type: ignore[misc]
    main()
