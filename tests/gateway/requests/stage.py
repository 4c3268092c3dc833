"""The servers before which the table is held, and what each must look like after a group of requests."""

import re
from collections.abc import Callable
from typing import Final

import psutil

from tests.gateway.real import is_, say
from tests.gateway.requests.case import FORGED
from tests.markdown import ROOT
from tests.servers.nginx import Nginx
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project

HEADER_TIME: Final = 1
SHIM: Final = ("--http", "taskbell.gateway.server:StreamProtocol")
# What memory may differ by between two looks at an idle process: pools of Python's allocator fill and empty.
SLACK_BYTES: Final = 8 * 1024 * 1024
BAD_LINE: Final = re.compile(rf"^{FORGED}|^Traceback|[\x00-\x1f\x7f]")


def prepare(project: Project) -> Project:
    """Let a project be a site in the open, and quick to lose patience."""
    project.env["DJANGO_SETTINGS_MODULE"] = "tests.gateway.requests.settings"
    project.configure(
        HEADER_TIME=HEADER_TIME,
        TRUSTED_PROXIES=["127.0.0.1"],
        STREAMS_PER_ADDRESS=1_000,
        AUTHORIZE="tests.gateway.rules.own_projects",
    )
    project.attach()
    return project


class Stage:
    """A gateway in its own process, reached at `port`, directly or by nginx."""

    column: str
    kind: str

    def __init__(self, kind: str, project: Project) -> None:
        self.kind = kind
        self.nginx: Nginx | None = None
        self.column, start = KINDS[kind]
        self.gateway: Gateway = start(project)
        self.port = self.gateway.port
        if kind == "nginx":
            self.nginx = _nginx(self.gateway.port)
            self.port = int(re.findall(r"listen 127.0.0.1:(\d+);", (self.nginx.folder / "site.conf").read_text())[0])
        self._process = psutil.Process(self.gateway.pid)
        self.is_well()

    def is_well(self) -> None:
        """Assert that a stream works, here and now."""
        with self.gateway.stream("/events/public:news/", host="127.0.0.1") as stream:
            stream.until("ping")
            say("still here")
            stream.until(is_("still here"))

    def left_no_trace(self) -> None:
        """Assert that what was held is given back, and that the log holds nothing that a client wrote."""
        self.is_well()
        self.gateway.wait_until(lambda: self.connections() == 0, what="rid of all connections", timeout=10)
        log = self.gateway.output()
        bad = [line for line in log.split("\n") if BAD_LINE.search(line)]
        assert not bad, "\n".join(bad)

    def connections(self) -> int:
        """Return how many connections the gateway holds open."""
        return sum(1 for held in self._process.net_connections("tcp") if held.status != psutil.CONN_LISTEN)

    def memory(self) -> int:
        """Return the bytes that the gateway holds."""
        return int(self._process.memory_info().rss)

    def remove(self) -> None:
        if self.nginx is not None:
            self.nginx.remove()
        self.gateway.destroy()


def _nginx(gateway_port: int) -> Nginx:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for written, ours in {
        "127.0.0.1:8001": f"127.0.0.1:{gateway_port}",
        "client_header_timeout 10s;": f"client_header_timeout {HEADER_TIME}s;",
    }.items():
        assert written in text
        text = text.replace(written, ours)
    return Nginx(text.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")).start()


#: Kind of stage: the column of the table that holds for it, and how its gateway is started.
KINDS: Final[dict[str, tuple[str, Callable[[Project], Gateway]]]] = {
    "serve": ("ours", lambda project: project.serve()),
    "shim": ("ours", lambda project: project.uvicorn(*SHIM)),
    "httptools": ("httptools", lambda project: project.uvicorn("--http", "httptools")),
    "h11": ("h11", lambda project: project.uvicorn("--http", "h11")),
    "nginx": ("nginx", lambda project: project.serve()),
}
