"""A Celery worker that has done a few tasks and now waits: what it costs meanwhile, itself and each of its children.

Prints one JSON list of rounds: statements, microseconds of processor time and KiB of memory.
"""

import argparse
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, Final

import django
import psutil
from celery import Celery, signals
from django.conf import settings

CHILDREN: Final = 2
TASKS: Final = 20
# The tasks end, their facts are written, and what is done once is over.
SETTLE_SECONDS: Final = 8.0

Round = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broker", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    # Celery greets on stdout, which is for the result alone.
    result = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    django.setup()
    statements = count_statements()
    app = Celery("bench", broker=options.broker, backend="disabled://", set_as_current=True)
    app.conf.update(task_default_queue=options.queue, worker_redirect_stdouts=False)
    task = app.task(name="bench.listed")(_nothing)

    def rest(**kwargs: Any) -> None:
        threading.Thread(target=watch, daemon=True).start()

    def watch() -> None:
        publish(task)
        time.sleep(SETTLE_SECONDS)
        json.dump([window(statements, options.seconds) for _ in range(options.rounds)], result)
        result.close()
        os.kill(os.getpid(), signal.SIGTERM)

    signals.worker_ready.connect(rest, weak=False)
    words = ["worker", "--pool", "prefork", "--concurrency", str(CHILDREN), "--hostname", f"{options.queue}@%h"]
    app.worker_main([*words, "--loglevel", "ERROR"])


def _nothing() -> None:
    pass


def publish(task: Any) -> None:
    if "taskbell" not in settings.INSTALLED_APPS:
        for _ in range(TASKS):
            task.delay()
        return
    from django.contrib.auth import get_user_model
    from django.db import connection

    from taskbell import for_user

    user, _ = get_user_model().objects.get_or_create(username="bench")
    with for_user(user):
        for _ in range(TASKS):
            task.delay()
    connection.close()


def window(statements: list[int], seconds: float) -> Round:
    """Return what one stretch of rest took."""
    main = psutil.Process()
    family = [main, *main.children()]
    before, count, began = [cpu_ns(one) for one in family], statements[0], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    spent = [(cpu_ns(one) - earlier) / 1e3 / took for one, earlier in zip(family, before, strict=True)]
    return {
        "statements_a_minute": (statements[0] - count) * 60 / took,
        "main_us_a_second": spent[0],
        "child_us_a_second": sum(spent[1:]) / len(spent[1:]),
        "main_kib": memory_kib(main, "Rss"),
        # What every further child takes: the rest is the main process's.
        "child_kib": sum(own_kib(child) for child in family[1:]) / len(family[1:]),
    }


def count_statements() -> list[int]:
    """Count what any connection of this process executes from now on."""
    from django.db.backends.utils import CursorWrapper

    counted = [0]
    for name in ("execute", "executemany"):
        original = getattr(CursorWrapper, name)

        def counting(self: Any, *args: Any, _original: Any = original, **kwargs: Any) -> Any:
            counted[0] += 1
            return _original(self, *args, **kwargs)

        setattr(CursorWrapper, name, counting)
    return counted


def cpu_ns(process: psutil.Process) -> int:
    """Return the time that its threads have run; the kernel's other count has steps of 10 ms."""
    tasks = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks)


def own_kib(process: psutil.Process) -> float:
    return memory_kib(process, "Private_Clean") + memory_kib(process, "Private_Dirty")


def memory_kib(process: psutil.Process, name: str) -> float:
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


if __name__ == "__main__":
    main()
