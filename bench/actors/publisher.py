"""Publishes to a channel from a process of its own, as a project's worker does.

Each payload carries the monotonic clock just before `publish()`. With `--rate` it publishes that many a second, on time
whatever the earlier ones took; without it, one for each line on stdin. Prints one JSON list of `[before, committed]`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

import django
from django.db import connection, transaction

PAD_CHARACTERS: Final = 40
# A pause shorter than this is spent spinning: sleep() comes back a little late.
SPIN_S: Final = 0.0003
LINGER_S: Final = 0.5
RING_S: Final = 0.2

Times = list[tuple[int, int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--pad", type=int, default=PAD_CHARACTERS)
    parser.add_argument("--together", type=int, default=1, help="so many events in each transaction")
    parser.add_argument("--channels", type=int, default=1, help="each to CHANNEL-0, CHANNEL-1 and so on")
    options = parser.parse_args()
    django.setup()
    connection.ensure_connection()
    times: Times = []
    several = [f"{options.channel}-{number}" for number in range(options.channels)]
    channels = several if options.channels > 1 else [options.channel]
    send = sender(channels * options.together, "x" * options.pad, times)
    if options.rate:
        ring_once()
    say_ready()
    if options.rate:
        for due in paced(options.rate, options.count):
            wait_until(due)
            send()
    else:
        for _ in sys.stdin:
            send()
    # A worker lives on after its last event; a wakeup that is rung by another thread has that time too.
    time.sleep(LINGER_S)
    json.dump(times, sys.stdout)


def sender(channels: Sequence[str], pad: str, times: Times) -> Callable[[], None]:
    """Return what publishes to each of these channels in a transaction of its own and notes both moments."""
    from taskbell import publish_many

    def send() -> None:
        with transaction.atomic():
            before = time.monotonic_ns()
            # Registered first, so it runs first: the moment at which COMMIT came back.
            transaction.on_commit(lambda: times.append((before, time.monotonic_ns())))
            # Each event is known by its stamp, so no two are alike.
            publish_many(
                (channel, "message", {"stamp": f"t={before + number}", "pad": pad})
                for number, channel in enumerate(channels)
            )

    return send


def ring_once() -> None:
    """Publish to nobody: from then on this process has a connection to ring by, as one that publishes steadily has."""
    from taskbell import publish

    publish("public:nobody", "message", {})
    time.sleep(RING_S)


def paced(rate: float, count: int) -> list[float]:
    """Return when each event is due: one at a random moment of each slot.

    A strict beat falls into step with whatever waits in whole milliseconds, SQLite's retries for one, and then
    meets it always or never.
    """
    start, moment = time.monotonic() + 0.05, random.Random(0)
    return [start + (number + moment.random()) / rate for number in range(count)]


def wait_until(due: float) -> None:
    while (left := due - time.monotonic()) > 0:
        if left > SPIN_S:
            time.sleep(left - SPIN_S)


def say_ready() -> None:
    print("ready", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
