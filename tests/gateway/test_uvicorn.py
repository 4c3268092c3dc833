"""Each thing of uvicorn that we lean on, one test a thing: what fails here names what a release changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from taskbell.gateway import detach, server
from taskbell.gateway.access import Caller, Grant, Wish
from taskbell.gateway.asgi import EventsMiddleware
from taskbell.gateway.detach import DetachingProtocol, knows_uvicorn
from taskbell.gateway.head import read_head
from taskbell.gateway.server import StreamProtocol
from taskbell.gateway.wire import DETACH, DetachedStream

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Quiet:
    """A hub that only remembers who left."""

    def __init__(self) -> None:
        self.gone: list[Any] = []

    def fell_behind(self, stream: Any) -> None: ...
    def caught_breath(self, stream: Any) -> None: ...
    def left(self, stream: Any) -> None:
        self.gone.append(stream)


class Scene(EventsMiddleware):
    """uvicorn's protocol on a real socket, with an application that detaches and keeps what it saw."""

    def __init__(self) -> None:
        super().__init__(None)
        self.hub = Quiet()
        self.state = ServerState()
        self.doors: list[StreamProtocol] = []
        self.protocols: list[DetachingProtocol] = []
        self.scopes: list[dict[str, Any]] = []
        self.streams: list[DetachedStream] = []
        self.before_detach: Callable[[], Awaitable[None]] | None = None
        self.at_once = self.wrapped = False
        self.broken: str | None = None
        self.options: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if DETACH in scope.get("extensions", {}):
            self.protocols.append(scope["extensions"][DETACH].__self__)
        if self.before_detach is not None:
            await self.before_detach()
        if self.broken is not None:
            raise ValueError(self.broken)
        if not self._detached(scope):
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"plain"})

    def answer_at_once(self, scope: Any) -> bool:
        if not self.at_once:
            return False
        if self.broken == "before":
            raise ValueError(self.broken)
        done = self._detached(scope)
        if self.broken == "after":
            raise ValueError(self.broken)
        return done

    def _detached(self, scope: Any) -> bool:
        grant = Grant(("public:news",), None, Wish(channels=("public:news",)), Caller())
        stream = DetachedStream(grant, "127.0.0.1", self.hub)
        detach = scope.get("extensions", {}).get(DETACH)
        head = detach([(b"x-test", b"1")], stream) if detach is not None else None
        if head is None:
            return False
        self.streams.append(stream)
        if self.broken is None:
            stream.write(head)
        return True

    def door(self) -> StreamProtocol:
        options: Any = {"interface": "asgi3", "ws": "none", "lifespan": "off", "log_config": None} | self.options
        config = Config(self, http=StreamProtocol, proxy_headers=self.wrapped, **options)
        config.load()
        self.doors.append(StreamProtocol(config=config, server_state=self.state, app_state={}))
        return self.doors[-1]

    @asynccontextmanager
    async def asked(self, request: bytes = GET) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Send a request on a connection of its own, and give what comes back."""
        server = await asyncio.get_running_loop().create_server(self.door, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        try:
            yield reader, writer
        finally:
            writer.close()
            server.close()
            await until(lambda: len(self.hub.gone) == len(self.streams))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110  uvicorn tells nobody
            await asyncio.sleep(0.001)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        return await reader.readuntil(b"\r\n\r\n")


def run(check: Callable[[Scene], Awaitable[None]]) -> None:
    asyncio.run(check(Scene()))  # type: ignore[arg-type]


def test_status_lines_are_bytes_by_number() -> None:
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINE[408].startswith(b"HTTP/1.1 408 ")
    assert STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")


def test_the_scope_of_on_message_begin_is_the_application_s() -> None:
    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, _):
            await head_of(reader)
            assert list(scene.scopes[0]["extensions"]) == [DETACH]

    run(check)


def test_the_head_is_ours_with_the_server_s_own_headers() -> None:
    async def check(scene: Scene) -> None:
        scene.state.default_headers = [(b"server", b"uvicorn")]
        async with scene.asked() as (reader, _):
            head = await head_of(reader)
        assert head == b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\nx-test: 1\r\nconnection: close\r\n\r\n"

    run(check)


def test_the_transport_s_protocol_can_be_replaced() -> None:
    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, writer):
            await head_of(reader)
            (stream,) = scene.streams
            assert stream.transport.get_protocol() is stream
            stream.write(b"bytes")
            assert await reader.readexactly(5) == b"bytes"
            writer.close()
            await until(lambda: scene.hub.gone == [stream])

    run(check)


def test_a_server_that_stops_does_not_wait_for_what_was_discarded() -> None:
    """`Server.shutdown` waits for `connections` and `tasks`."""

    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, _):
            await head_of(reader)
            await asyncio.sleep(0)
            assert scene.protocols[0].connections is scene.state.connections
            assert scene.state.connections == set()
            await until(lambda: not scene.state.tasks)

    run(check)


def test_a_response_that_is_complete_gets_nothing_more_when_the_application_returns() -> None:
    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, _):
            await head_of(reader)
            await until(lambda: not scene.state.tasks)
            scene.streams[0].write(b"end")
            assert await reader.readexactly(3) == b"end", "no 500 and no chunk before it"

    run(check)


def test_keep_alive_does_not_cut_a_stream() -> None:
    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, _):
            await head_of(reader)
            assert scene.protocols[0].timeout_keep_alive_task is None
            assert not scene.streams[0].transport.is_closing()

    run(check)


def test_reading_goes_on_after_flow_control_stopped_it() -> None:
    async def check(scene: Scene) -> None:
        async def pause() -> None:
            scene.protocols[0].flow.pause_reading()

        scene.before_detach = pause
        async with scene.asked() as (reader, writer):
            await head_of(reader)
            writer.write(b"more")
            # bytes after the request end the stream, so they were read
            await until(lambda: bool(scene.hub.gone))

    run(check)


def test_a_browser_that_left_is_known_to_the_cycle() -> None:
    async def check(scene: Scene) -> None:
        left = asyncio.Event()

        async def wait() -> None:
            await left.wait()

        scene.before_detach = wait
        async with scene.asked() as (_, writer):
            await until(lambda: bool(scene.scopes))
            cycle = scene.protocols[0].cycle
            writer.transport.abort()
            await until(lambda: bool(cycle.disconnected))
            left.set()
            await until(lambda: not scene.state.tasks)
            assert scene.streams == []

    run(check)


def test_a_stream_that_waits_for_nothing_needs_nothing_of_uvicorn() -> None:
    async def check(scene: Scene) -> None:
        scene.at_once = True
        async with scene.asked() as (reader, _):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 200 OK\r\n")
            assert (len(scene.streams), scene.state.tasks, scene.state.connections) == (1, set(), set())
            scene.streams[0].write(b"more")
            assert await reader.readexactly(4) == b"more"

    run(check)


def test_a_limit_on_requests_is_for_uvicorn_to_keep() -> None:
    async def check(scene: Scene) -> None:
        scene.at_once, scene.options = True, {"limit_concurrency": 1}
        async with scene.asked() as (reader, _):
            assert (await head_of(reader)).startswith(b"HTTP/1.1 503 ")

    run(check)


def test_a_server_that_stops_closes_a_connection_that_asked_for_nothing() -> None:
    """`Server.shutdown` calls `shutdown` of everything in `connections`."""

    async def check(scene: Scene) -> None:
        async with scene.asked(b"") as (reader, _):
            await until(lambda: scene.state.connections == set(scene.doors) != set())
            for connection in scene.state.connections:
                connection.shutdown()
            async with asyncio.timeout(5):
                assert await reader.read() == b""
            await until(lambda: not scene.state.connections)

    run(check)


def test_a_head_in_pieces_has_no_more_time_than_a_whole_one() -> None:
    async def check(scene: Scene) -> None:
        async with scene.asked(GET[:5]) as (_, _):
            await until(lambda: bool(scene.doors))
            due = scene.doors[0]._head_timer.when()
            await until(lambda: scene.state.connections != set(scene.doors))
            (protocol,) = scene.state.connections
            assert protocol._head_timer.when() == due  # type: ignore[union-attr]

    run(check)


@pytest.mark.parametrize(
    "head",
    [
        GET,
        b"\r\n" + GET,
        b"GET /events/?channel=public:a&after=1.2%2F3 HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two:  2 \r\n\r\n",
        b"GET /events/%C3%A9%2F%zz/?a?b HTTP/1.0\r\nhost: a\r\n\r\n",
        b"GET //events//..;x/ HTTP/1.1\r\nHost: a\r\nCookie: a=b; c=\xe9\r\nConnection: keep-alive\r\n\r\n",
        b"GET /? HTTP/1.1\r\nHost:\r\nEmpty:\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_head_means_to_us_what_it_means_to_uvicorn(head: bytes) -> None:
    async def check(scene: Scene) -> None:
        scope = read_head(head)
        assert scope is not None
        async with scene.asked(head):
            await until(lambda: bool(scene.scopes))
        assert scope == {name: scene.scopes[0][name] for name in scope}

    run(check)


def test_an_application_inside_another_is_asked_by_it_alone() -> None:
    """uvicorn's own wrapper for headers of proxies, or one of the project's."""

    async def check(scene: Scene) -> None:
        scene.at_once = scene.wrapped = True
        async with scene.asked() as (reader, _):
            await head_of(reader)
            assert len(scene.scopes) == len(scene.streams) == 1

    run(check)


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_while_a_request_is_answered_at_once_is_said_once(when: str, caplog: pytest.LogCaptureFixture) -> None:
    """The parser would take it for a malformed request."""

    async def check(scene: Scene) -> None:
        scene.at_once, scene.broken = True, when
        async with scene.asked() as (reader, _):
            async with asyncio.timeout(5):
                said = await reader.read()
        assert said == b"" if when == "after" else said.startswith(b"HTTP/1.1 500 ")

    run(check)
    assert [record.getMessage() for record in caplog.records] == ["Exception in ASGI application\n"]


def test_nothing_of_the_request_is_kept() -> None:
    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, _):
            await head_of(reader)
            (protocol,) = scene.protocols
            assert (protocol.scope, protocol.cycle, protocol.parser, protocol.headers) == (None, None, None, None)

    run(check)


def test_an_unknown_version_streams_by_plain_send(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (detach, server):
        monkeypatch.setattr(module, "knows_uvicorn", lambda: False)

    async def check(scene: Scene) -> None:
        async with scene.asked() as (reader, _):
            await head_of(reader)
            assert await reader.readexactly(5) == b"plain"
            assert scene.streams == []

    run(check)


@pytest.mark.parametrize(("version", "known"), [("0.45.9", False), ("0.46.0", True), ("0.54.3", True), ("0.55", False)])
def test_which_versions_are_known(version: str, known: bool) -> None:
    assert knows_uvicorn(version) is known
