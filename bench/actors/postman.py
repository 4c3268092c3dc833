"""Publishes so many events to every person, round by round, and waits until a gateway has numbered them.

Each payload carries the monotonic clock, so those of one person ascend. Prints how many events there were.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import django

EVENTS_A_TRANSACTION: Final = 2_000
LOOK_AGAIN_S: Final = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("each", type=int)
    options = parser.parse_args()
    django.setup()
    count = publish_to_all(options.each)
    wait_until_numbered()
    json.dump(count, sys.stdout)


def publish_to_all(each: int) -> int:
    """Publish `each` events to every account; return their number."""
    from django.contrib.auth import get_user_model
    from django.db import transaction

    from taskbell import publish_many

    people, count = list(get_user_model().objects.all()), 0
    events = _events(people, each)
    while batch := list(islice(events, EVENTS_A_TRANSACTION)):
        with transaction.atomic():
            publish_many(batch)
        count += len(batch)
    return count


def wait_until_numbered() -> None:
    from taskbell.models import Outbox

    while Outbox.objects.exists():
        time.sleep(LOOK_AGAIN_S)


def _events(people: list[Any], each: int) -> Iterator[tuple[Any, str, Any]]:
    for number in range(each):
        for person in people:
            yield person, "message", {"stamp": f"t={time.monotonic_ns()}", "number": number}


if __name__ == "__main__":
    main()
