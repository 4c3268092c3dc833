"""Times what a writer pays: `publish()` beside the INSERT of a plain row of the same size, and the COMMIT of each.

Prints one JSON list of rounds; each holds the median microseconds of the four.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Final

import django
from django.db import transaction

PAYLOAD: Final = {"id": 1042, "state": "ready", "pad": "x" * 60}
COMMITS_PER_INSERT: Final = 0.4

Write = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inserts", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    options = parser.parse_args()
    django.setup()
    writes = make_writes()
    run_round(writes, 20)  # what is done once is done before
    json.dump([run_round(writes, options.inserts) for _ in range(options.rounds)], sys.stdout)


def make_writes() -> dict[str, Write]:
    from bench.models import Plain
    from taskbell import publish

    text = json.dumps(PAYLOAD, separators=(",", ":"))
    return {
        "publish": lambda: publish("public:bench", "message", PAYLOAD),
        "plain": lambda: Plain.objects.create(kind="event", channel="public:bench", type="message", payload=text),
    }


def run_round(writes: dict[str, Write], inserts: int) -> dict[str, float]:
    out: dict[str, list[float]] = {f"{name}_{what}": [] for name in writes for what in ("insert_us", "commit_us")}
    with transaction.atomic():
        for _ in range(inserts):
            for name, write in writes.items():
                out[f"{name}_insert_us"].append(microseconds(write))
    for _ in range(int(inserts * COMMITS_PER_INSERT)):
        for name, write in writes.items():
            out[f"{name}_commit_us"].append(commit_microseconds(write))
    return {what: median(values) for what, values in out.items()}


def microseconds(write: Write) -> float:
    began = time.perf_counter_ns()
    write()
    return (time.perf_counter_ns() - began) / 1e3


def commit_microseconds(write: Write) -> float:
    """Time the end of a transaction that wrote one row, with whatever it rings afterwards."""
    with transaction.atomic():
        write()
        began = time.perf_counter_ns()
    return (time.perf_counter_ns() - began) / 1e3


if __name__ == "__main__":
    main()
