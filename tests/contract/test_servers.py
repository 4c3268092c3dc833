"""What a page is promised, under every ASGI server that streams are served with."""

import signal
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.gateway.real import QUICK, Make, is_, published, say
from tests.servers.project import Gateway, Project
from tests.servers.sse import Cut, Ended, Stream

APPLICATION = "tests.asgi:application"
SHIM = ("--http", "taskbell.gateway.server:StreamProtocol")
NEWS = "/events/public:news/"

Serve = Callable[[Project], Gateway]

SERVERS: dict[str, Serve] = {
    "serve": Project.serve,
    "uvicorn, detached": lambda one: one.uvicorn(*SHIM),
    "uvicorn, plain": Project.uvicorn,
    "gunicorn": lambda one: one.server("gunicorn", "-k", "asgi", "-b", "127.0.0.1:PORT", APPLICATION),
    "granian": lambda one: one.server("granian", "--interface", "asgi", "--port", "PORT", APPLICATION),
}

pytestmark = [pytest.mark.proof, pytest.mark.parametrize("serve", SERVERS.values(), ids=SERVERS)]


def last_of(stream: Stream) -> list[str]:
    """Return the types of what comes until the end, whether it is a clean one or not."""
    types = []
    try:
        while True:
            types.append(stream.read(20).type)
    except (Ended, Cut):
        return types


def test_events_arrive_in_order_and_a_page_resumes_where_it_was(project: Make, serve: Serve) -> None:
    one = project("sqlite")
    gateway = serve(one)
    texts = [f"{number} {'x' * 5_000}" for number in range(30)]
    with gateway.stream(NEWS) as stream:
        assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert (stream.read().type, stream.retry) == ("ping", 2000)
        say(*texts[:20])
        assert published(stream.until(is_(texts[19]))) == texts[:20]
        say({"to": "another channel"}, to="public:other")
    say(*texts[20:])
    with gateway.stream(NEWS, last_event_id=stream.last_event_id) as stream:
        assert published(stream.until(is_(texts[-1]))) == texts[20:], "what was missed, once"
    with gateway.stream(NEWS, last_event_id="1.other.1.x") as stream:
        assert stream.read().json == {"reason": "rewritten"}


def test_a_person_reads_their_own_and_nobody_else_does(project: Make, serve: Serve) -> None:
    one = project("sqlite")
    minji, yamkant = one.person("minji"), one.person("yamkant")
    gateway = serve(one)
    with ExitStack() as stack:
        hers, his = (stack.enter_context(gateway.stream(cookie=one.sign_in(who))) for who in (minji, yamkant))
        hers.until("ping"), his.until("ping")
        say("for her", to=minji)
        say("for him", to=yamkant)
        assert published(hers.until("message")) == ["for her"]
        assert published(his.until("message")) == ["for him"]
        assert stack.enter_context(gateway.stream("/events/")).status == 401
        assert stack.enter_context(gateway.stream("/events/project:secret/")).status == 404


def test_limits_are_told_and_free_again_when_a_page_leaves(project: Make, serve: Serve) -> None:
    one = project("sqlite")
    one.configure(**QUICK, STREAMS_PER_ADDRESS=3)
    gateway = serve(one)
    with ExitStack() as stack:
        streams = [stack.enter_context(gateway.stream(NEWS)) for _ in range(3)]
        for stream in streams:
            stream.until("ping")
        refused = stack.enter_context(gateway.stream(NEWS))
        assert (refused.status, refused.headers["retry-after"].isdigit()) == (503, True)
        streams[0].close()
        gateway.wait_until(lambda: admitted(gateway), what="free again")


def admitted(gateway: Gateway) -> bool:
    with gateway.stream(NEWS) as stream:
        return stream.status == 200


def test_a_slow_page_loses_nothing_and_holds_up_nobody(project: Make, serve: Serve) -> None:
    one = project("sqlite")
    gateway = serve(one)
    texts = [f"{number} {'x' * 20_000}" for number in range(50)]
    with gateway.stream(NEWS) as quick, gateway.stream(NEWS, receive_buffer=8192, pace=400_000) as slow:
        quick.read(), slow.read()
        say(*texts)
        assert published(quick.until(is_(texts[-1]), timeout=30)) == texts
        assert published(slow.until(is_(texts[-1]), timeout=60)) == texts


def test_a_stop_says_bye_and_ends(project: Make, serve: Serve) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    gateway = serve(one)
    with ExitStack() as stack:
        streams = [stack.enter_context(gateway.stream(NEWS)) for _ in range(5)]
        for stream in streams:
            stream.until("ping")
        gateway.send_signal(signal.SIGTERM)
        ends = [last_of(stream) for stream in streams]
    assert [types[-1:] for types in ends] == [["bye"]] * 5
    assert gateway.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in gateway.output()
