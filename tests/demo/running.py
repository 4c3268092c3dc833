"""The whole demo in real processes, and a person who uses it without a browser."""

import http.cookiejar
import json
import os
import re
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.servers.process import Process, free_port
from tests.servers.sse import Stream

# A cold start imports Django and Celery four times, on two shared cores.
READY_SECONDS = 60
ROOT = Path(__file__).parents[2]
ENDED = frozenset({"succeeded", "failed", "lost", "cancelled", "expired", "skipped"})


class Demo:
    """`python -m demo`, which is what `make demo` runs, with a state folder of the test's own."""

    def __init__(self, folder: Path, port: int | None = None, **env: str) -> None:
        self.port = port or free_port()
        self.folder = folder
        log = folder / f"{self.port}.log"
        log.unlink(missing_ok=True)
        inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONDEVMODE", "REDIS_URL")}
        self.process = Process(
            [sys.executable, "-m", "demo"],
            log=log,
            cwd=ROOT,
            env=inherited | {"PORT": str(self.port), "DEMO_FOLDER": str(folder)} | env,
        )

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> Path:
        return self.folder / str(self.port)

    def ready(self) -> "Demo":
        self.process.wait_until(
            lambda: f"Open  {self.address}/" in self.process.output(), what="ready", timeout=READY_SECONDS
        )
        return self

    def restarts(self) -> int:
        """Return how often the server was started again."""
        return self.process.output().count("The server is started again.")

    def restarted(self, after: int) -> None:
        """Wait until the server was started again more than `after` times, and answers."""
        self.process.wait_until(lambda: self.restarts() > after and listens(self.port), what="back")

    def family(self) -> list[psutil.Process]:
        """Every process of this demo that runs now, the launcher too."""
        launcher = psutil.Process(self.process.pid)
        return [launcher, *launcher.children(recursive=True)]

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.state.glob("*.log")))

    def stop(self) -> None:
        """End it as Ctrl-C does, whatever is left of it."""
        if self.process.alive:
            self.process.stop()


def gone(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs; an AssertionError names those that stay."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Person:
    """One cookie jar at one demo; requests return status and JSON."""

    def __init__(self, demo: Demo, name: str = "demo") -> None:
        self.demo = demo
        self.jar = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar)).open
        self.page = self._open(f"{demo.address}/").read().decode()
        if name != "demo":
            self._open(self._request("/sign-in/", f"user={name}".encode(), "application/x-www-form-urlencoded")).read()

    def get(self, path: str) -> tuple[int, Any]:
        return self._ask(urllib.request.Request(self.demo.address + path))

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        return self._ask(self._request(path, json.dumps(body or {}).encode(), "application/json"))

    def upload(self, *images: bytes) -> tuple[int, Any]:
        head = (
            b'--edge\r\nContent-Disposition: form-data; name="images"; filename="a"\r\nContent-Type: image/jpeg\r\n\r\n'
        )
        body = b"".join(head + data + b"\r\n" for data in images) + b"--edge--\r\n"
        return self._ask(self._request("/photos/", body, "multipart/form-data; boundary=edge"))

    def start(self, path: str = "/tasks/", **body: Any) -> str:
        """Start a task and return its id."""
        status, answer = self.post(path, body)
        assert status == 201, answer
        return str(answer["task_id"])

    def state(self, task_id: str) -> str:
        return str(self.get(f"/tasks/{task_id}/")[1]["state"])

    def wait_until(self, task_id: str, wanted: str | Callable[[Any], bool], timeout: float = 30) -> Any:
        """Return the run once it is in this state."""
        deadline = time.monotonic() + timeout
        while True:
            run = self.get(f"/tasks/{task_id}/")[1]
            if run["state"] == wanted if isinstance(wanted, str) else wanted(run):
                return run
            assert run["state"] not in ENDED, f"it ended: {run}"
            assert time.monotonic() < deadline, f"not {wanted} after {timeout} s: {run}\n{self.demo.logs()}"
            time.sleep(0.05)

    def stream(self, path: str = "/events/", **options: Any) -> Stream:
        return Stream(self.demo.port, path, cookie=self._cookies(), **options)

    def _cookies(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.jar)

    def _request(self, path: str, data: bytes, kind: str) -> urllib.request.Request:
        token = next(str(cookie.value) for cookie in self.jar if cookie.name == "csrftoken")
        headers = {"Content-Type": kind, "X-CSRFToken": token}
        return urllib.request.Request(self.demo.address + path, data, headers, method="POST")

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            with self._open(request, timeout=20) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error)


def _read(answer: Any) -> Any:
    data = answer.read()
    return json.loads(data or "null") if re.match("application/json", answer.headers["Content-Type"] or "") else data
