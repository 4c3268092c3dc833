"""A real Celery worker on a project's database and a Valkey, and what its owner's browser reads meanwhile."""

import json
import os
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import psutil
from celery.result import AsyncResult
from django.contrib.auth.models import User
from django.test import Client

from taskbell import for_user
from taskbell.runs.states import ENDINGS
from tests.engines.project import app
from tests.servers.process import Process
from tests.servers.project import Gateway, Project
from tests.servers.sse import Cut, Ended
from tests.servers.valkey import Valkey

Pool = Literal["prefork", "threads", "solo"]


def use_broker(valkey: Valkey) -> str:
    """Empty the Valkey, let this process publish there, and return the address that workers want."""
    import redis

    address = valkey.url.rpartition("/")[0]
    with redis.Redis.from_url(address) as client:
        client.flushall()
    # Without a result backend: an AsyncResult that outlives the server fails when it is collected.
    app.conf.update(broker_url=f"{address}/0", result_backend="disabled://")
    return address


class Worker:
    """`celery worker` and everything it starts."""

    def __init__(
        self, project: Project, *, pool: Pool = "prefork", concurrency: int = 2, queues: str = "celery"
    ) -> None:
        options = ["--queues", queues, "--pool", pool, "--concurrency", str(concurrency), "--loglevel", "INFO"]
        quick = ["--without-gossip", "--without-mingle"]
        self.process: Process = project.python(
            "-m", "celery", "-A", "tests.engines.project", "worker", *options, *quick
        )  # fmt: skip
        self.process.wait_until(lambda: " ready." in self.output(), what="ready", timeout=60)

    def output(self) -> str:
        return self.process.output()

    def has_run(self, task: Any) -> bool:
        """Tell whether a task succeeded, whoever it belongs to."""
        return bool(re.search(rf"Task \S+\[{task}\] succeeded", self.output()))

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """Kill the whole tree at once, as the loss of the machine does."""
        tree = self.children() if self.process.alive else []
        self.process.kill()
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self.process.wait()
        psutil.wait_procs(tree, timeout=10)

    def stop(self) -> int:
        """Ask it to end after the tasks at hand."""
        return self.process.stop(60)


class Owner:
    """A signed-in person whose browser keeps one stream open; its run events are kept by task."""

    def __init__(self, project: Project, gateway: Gateway, name: str = "ada") -> None:
        self.user: User = project.person(name)
        self._cookie = project.sign_in(self.user)
        self._events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._news = threading.Condition()
        self._open(gateway, "")

    def _open(self, gateway: Gateway, place: str) -> None:
        self._stream = gateway.stream(cookie=self._cookie, timeout=3600, last_event_id=place)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._stream.read()  # the first ping: from here on nothing is missed
        self._thread.start()

    def come_back(self, gateway: Gateway) -> None:
        """Go on at another gateway, from where the stream was cut."""
        self.close()
        self._open(gateway, self._stream.last_event_id)

    def _read(self) -> None:
        try:
            for event in self._stream:
                if event.type == "run":
                    run = json.loads(event.data)
                    with self._news:
                        self._events[run["task_id"]].append(run)
                        self._news.notify_all()
        except (OSError, Cut, Ended):
            return

    def delay(self, task: Any, *args: Any, **options: Any) -> AsyncResult:
        """Enqueue a task for this person; the options are those of `apply_async`."""
        with for_user(self.user):
            return task.apply_async(args, **options)

    def cancel(self, task: AsyncResult | str) -> dict[str, Any]:
        """Press the button; return the run as it was answered."""
        client = Client()
        client.force_login(self.user)
        answer = client.post(f"/taskbell/runs/{task}/cancel/")
        assert answer.status_code in {202, 409}, answer.content
        run: dict[str, Any] = answer.json()["run"]
        return run

    def events(self, task: AsyncResult | str) -> list[dict[str, Any]]:
        """Return what was told of a task so far."""
        with self._news:
            return list(self._events[str(task)])

    def all_events(self) -> dict[str, list[dict[str, Any]]]:
        with self._news:
            return {task: list(events) for task, events in self._events.items()}

    def endings(self) -> dict[str, list[str]]:
        """Return the endings told of each run."""
        return {run: endings_of(events) for run, events in self.by_run().items()}

    def by_run(self) -> dict[str, list[dict[str, Any]]]:
        """Return what was told by run: a task's id may be that of two, as of a tree and the last step of its chain."""
        runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for events in self.all_events().values():
            for run in events:
                runs[run["id"]].append(run)
        return runs

    def until(
        self, task: AsyncResult | str, wanted: str | Callable[[dict[str, Any]], bool], timeout: float = 30
    ) -> list[dict[str, Any]]:
        """Return what was told of a task, once one of it is in the state `wanted`."""
        deadline = time.monotonic() + timeout

        def is_wanted(run: dict[str, Any]) -> bool:
            return bool(run["state"] == wanted) if isinstance(wanted, str) else wanted(run)

        with self._news:
            while not any(map(is_wanted, self._events[str(task)])):
                if not self._news.wait(deadline - time.monotonic()):
                    told = [run["state"] for run in self._events[str(task)]]
                    raise AssertionError(f"not {wanted} after {timeout} s, but {told}")
            return list(self._events[str(task)])

    def ending(self, task: AsyncResult | str, timeout: float = 30) -> dict[str, Any]:
        """Wait for the ending of a task and return it."""
        return self.until(task, lambda run: run["state"] in ENDINGS, timeout)[-1]

    def states(self, task: AsyncResult | str, timeout: float = 30) -> list[str]:
        """Wait for the ending and return the states after "queued", without repetitions: progress repeats them.

        A worker may be quicker than the publisher's own INSERT, and then nobody is told "queued".
        """
        self.ending(task, timeout)
        states = [run["state"] for run in self.events(task)]
        changes = [state for at, state in enumerate(states) if at == 0 or states[at - 1] != state]
        return changes[1:] if changes[0] == "queued" else changes

    def find(self, wanted: Callable[[dict[str, Any]], bool], timeout: float = 30) -> dict[str, Any]:
        """Return the first event of any task that is wanted."""
        deadline = time.monotonic() + timeout
        while True:
            for events in self.all_events().values():
                for run in events:
                    if wanted(run):
                        return run
            assert time.monotonic() < deadline, "nothing of the kind was told"
            time.sleep(0.02)

    def close(self) -> None:
        with suppress(OSError):
            self._stream.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which closing does not
        self._thread.join(10)
        self._stream.close()


def endings_of(events: list[dict[str, Any]]) -> list[str]:
    return [run["state"] for run in events if run["state"] in ENDINGS]


def ids_of(values: Any) -> set[str]:
    return {str(value) for value in values}


def wait_for(condition: Callable[[], bool], *, what: str, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not {what} after {timeout} s"
        time.sleep(0.02)


def lines(path: os.PathLike[str] | str) -> int:
    try:
        with open(path) as file:
            return sum(1 for _ in file)
    except FileNotFoundError:
        return 0
