"""What a reader that takes nothing costs: a window for all and 64 KiB for each, however much is published at once."""

from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from taskbell import publish_many
from tests.gateway.real import QUICK, Make, is_, published, say
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project
from tests.servers.sse import Parser, Stream

MB = 1_000_000
EVENTS, SIZE = 300, 60_000
READERS = 20

pytestmark = [pytest.mark.proof, pytest.mark.parametrize("loop", ["asyncio", "uvloop"])]


def serve(one: Project, loop: str, app: str = "tests.asgi:application") -> Gateway:
    port = free_port()
    detached = ["--http", "taskbell.gateway.server:StreamProtocol", "--loop", loop]
    gateway = one._gateway(port, "-m", "uvicorn", app, "--port", str(port), *detached)
    gateway.wait_until(lambda: gateway.status("/") != 0, what="answering")
    return gateway


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of another process")
def test_a_large_commit_is_not_kept_for_each_stopped_reader(project: Make, loop: str) -> None:
    """18 MB in one commit, to streams of one channel (one write for all) and of two (one write each)."""
    one = project("sqlite")
    gateway = serve(one, loop)
    texts = [f"{number:<{SIZE}}" for number in range(EVENTS)]
    with ExitStack() as stack:

        def opened(query: str, receive_buffer: int | None = 4096) -> Stream:
            stream = stack.enter_context(gateway.stream(f"/events/?{query}", receive_buffer=receive_buffer))
            assert stream.read().type == "ping"
            return stream

        simple = [opened("channel=public:news") for _ in range(READERS)]
        double = [opened("channel=public:news&channel=public:other") for _ in range(READERS)]
        quick = opened("channel=public:news", None)
        before = peak(gateway)
        publish_many([("public:news", "message", text) for text in texts])
        assert published(quick.until(is_(texts[-1]), timeout=30)) == texts
        # Rows, frames and window hold these 18 MB a few times; forty buffers would hold them forty times.
        assert peak(gateway) - before < 100 * MB
        for stopped in (simple[0], double[0]):
            assert published(stopped.take(20, timeout=30)) == texts[:20], "they go on where they stopped"


def peak(gateway: Gateway) -> int:
    """Return the most bytes that a process ever held in memory."""
    lines = Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def after_a_page(one: Project, loop: str) -> tuple[Gateway, Stream]:
    """Ask for a page of 3 MB, read little more than its head, and ask for a stream on the same connection."""
    one.configure(**QUICK)
    gateway = serve(one, loop, "tests.gateway.pages:application")
    page = gateway.stream("/page/", receive_buffer=4096)
    page.socket.sendall(b"GET /events/public:news/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return gateway, page


def test_a_stream_behind_an_unread_page_is_cut_as_stalled(project: Make, loop: str) -> None:
    """The transport was full before it was the stream's, and will not say so again: nothing may be pushed to it."""
    gateway, page = after_a_page(project("sqlite"), loop)
    process = psutil.Process(gateway.pid)

    def held() -> bool:
        return any(found.raddr == page.socket.getsockname() for found in process.net_connections("tcp"))

    with page:
        assert held()
        gateway.wait_until(lambda: not held(), what="cut", timeout=10)


def test_a_stream_behind_a_page_that_is_read_goes_on(project: Make, loop: str) -> None:
    gateway, page = after_a_page(project("sqlite"), loop)
    texts = [f"{number} {'x' * 20_000}" for number in range(30)]
    with page, gateway.stream("/events/public:news/") as other:
        other.until("ping")
        say(*texts)
        other.until(is_(texts[-1]))
        received = bytearray(page._pending)
        while f'{texts[-1]}"\n\n'.encode() not in received[-40_000:]:
            received += page.socket.recv(1_000_000)
    after = bytes(received[int(page.headers["content-length"]) :])
    head, _, stream = after.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    seen = published(Parser().feed(stream))
    assert seen == texts[-len(seen) :], "all, from the moment on when it was let in"
