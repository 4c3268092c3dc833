"""The development view under a real `runserver`, held against the gateway: what one answers the other answers too."""

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings

from taskbell import publish, views
from taskbell.models import Log, LogHead
from taskbell.store.head import new_epoch
from taskbell.store.loops import Loop
from taskbell.store.people import account_name
from tests.servers.process import free_port
from tests.servers.project import Gateway, Project
from tests.servers.sse import Parser

PUBLIC = "/events/public:news/"

proof = pytest.mark.proof


def runserver(project: Project, *, debug: bool = True) -> Gateway:
    """Start `manage.py runserver` and return when it answers."""
    if debug:
        project.env["TASKBELL_TEST_DEBUG"] = "1"
    port = free_port()
    server = project._gateway(port, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}")
    server.wait_until(lambda: server.status("/") != 0, what="answering")
    return server


@pytest.fixture
def one(project: Callable[[str], Project]) -> Project:
    return project("sqlite")


@proof
def test_what_another_process_publishes_arrives(one: Project) -> None:
    server = runserver(one)
    with server.stream(PUBLIC) as stream:
        assert stream.status == 200
        stream.until("ping")
        assert stream.retry == 2000
        assert one.run("taskbell", "publish", "public:news", "message", '{"a": 1}').returncode == 0
        event = stream.read()
        assert (event.type, event.json) == ("message", {"a": 1})
        one.run("taskbell", "publish", "public:other", "message", "2")
        one.run("taskbell", "publish", "public:news", "message", "3")
        assert stream.take(1, type="message")[0].json == 3


@proof
def test_many_streams_number_every_event_once(one: Project) -> None:
    server = runserver(one)
    streams = [server.stream(PUBLIC) for _ in range(5)]
    for stream in streams:
        stream.until("ping")
    for payload in range(50):
        publish("public:news", "message", payload)
    for stream in streams:
        assert [event.json for event in stream.take(50, type="message")] == list(range(50))
        stream.close()
    assert list(Log.objects.order_by("seq").values_list("seq", flat=True)) == list(range(1, 51))


@proof
@pytest.mark.parametrize("how", ["header", "after", "lastEventId"])
def test_it_resumes(one: Project, how: str) -> None:
    server = runserver(one)
    with server.stream(PUBLIC) as stream:
        stream.until("ping")
        publish("public:news", "message", 1)
        cursor = stream.take(1, type="message")[0].id
    for payload in range(2, 5):
        publish("public:news", "message", payload)
    options: dict[str, Any] = {"last_event_id": cursor} if how == "header" else {"path": f"{PUBLIC}?{how}={cursor}"}
    with server.stream(**{"path": PUBLIC} | options) as stream:
        assert [event.json for event in stream.take(3, type="message")] == [2, 3, 4]


@proof
def test_a_history_that_was_rewritten_is_told_and_it_goes_on(one: Project) -> None:
    server = runserver(one)
    with server.stream(PUBLIC) as stream:
        publish("public:news", "message", 1)
        stream.until("message")
        name = new_epoch("default")
        reset = stream.until("reset")[-1]
        assert (reset.json, reset.id.split(".")[1]) == ({"reason": "rewritten"}, name)
        publish("public:news", "message", 2)
        assert stream.until("message")[-1].json == 2


@proof
def test_a_flush_under_an_open_stream(one: Project) -> None:
    server = runserver(one)
    with server.stream(PUBLIC) as stream:
        stream.until("ping")
        LogHead.objects.all().delete()
        assert stream.until("reset")[-1].json == {"reason": "rewritten"}
        publish("public:news", "message", 2)
        assert stream.until("message")[-1].json == 2


@proof
def test_ones_own_stream_and_nobody_elses(one: Project) -> None:
    ada, bob = one.person("ada"), one.person("bob")
    server = runserver(one)
    cookie = one.sign_in(ada)
    with server.stream("/events/", cookie=cookie) as own, server.stream("/events/ada/", cookie=cookie) as named:
        for stream in (own, named):
            stream.until("ping")
            assert stream.headers["taskbell-account"] == account_name(str(ada.pk))
        publish(bob, "message", "for bob")
        publish(ada, "message", "for ada")
        for stream in (own, named):
            assert stream.read().json == "for ada"


@proof
def test_who_is_signed_out_is_told_at_the_next_ping(one: Project) -> None:
    ada = one.person("ada")
    one.configure(PING=1)
    server = runserver(one)
    with server.stream("/events/", cookie=one.sign_in(ada)) as stream:
        stream.until("ping")
        ada.is_active = False
        ada.save()
        assert stream.rest()[-1].json == {"reason": "signed_out"}


@proof
def test_without_debug_it_says_what_to_run(one: Project) -> None:
    server = runserver(one, debug=False)
    with server.stream(PUBLIC) as answer:
        assert answer.status == 501
        assert answer.text() == f"{views.INSTEAD}\n"


# Requests that are no stream, or strange ones: (path, options), to be answered as the gateway does.
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/events/", {}),
    ("/events/ada/", {}),
    ("/events/bob/", {"signed_in": True}),
    ("/events/secret:a/", {}),
    ("/events/secret:a/", {"signed_in": True}),
    ("/events/user:1/", {"signed_in": True}),
    ("/events/taskbell:control/", {"signed_in": True}),
    ("/events/?channel=public:a&channel=secret:b", {}),
    ("/events/?channel=public:a&channel=public:b", {}),
    ("/events/?channel=", {}),
    ("/events/public:a/?channel=public:b", {}),
    ("/events/?" + "&".join(f"channel=public:{number}" for number in range(101)), {}),
    ("/events/public:%ED%95%9C/", {}),
    (PUBLIC, {"method": "POST"}),
    (PUBLIC, {"method": "HEAD"}),
    (PUBLIC, {"method": "OPTIONS"}),
    (PUBLIC, {"headers": {"Content-Length": "5"}, "body": b"hello"}),
    (PUBLIC, {"headers": {"Transfer-Encoding": "chunked"}, "body": b"0\r\n\r\n"}),
    (PUBLIC, {"headers": {"Upgrade": "h2c"}}),
    (PUBLIC, {"headers": {"Expect": "garbage"}}),
    (PUBLIC, {"headers": {"Origin": "https://evil.example"}}),
    (PUBLIC, {"headers": {"Origin": "null"}}),
    (PUBLIC, {"headers": {"Sec-Fetch-Site": "cross-site"}}),
    (PUBLIC, {"headers": {"Sec-Fetch-Site": "same-origin"}}),
    (f"{PUBLIC}?after=1.a.1.b&after=1.a.2.b", {}),
    (f"{PUBLIC}?after=1.a.1.b&lastEventId=1.a.1.b", {}),
    (f"{PUBLIC}?after=%ff", {}),
    (PUBLIC, {}),
]

BAD_CURSORS = ["0", "-1", "1e9", "+5", "0x10", "1.a.1", "1.a.01.b", "1.a.9223372036854775808.b", "<", "x" * 129]


@proof
def test_every_request_is_answered_as_the_gateway_answers_it(one: Project) -> None:
    cookie = one.sign_in(one.person("ada"))
    one.person("bob")
    gateway, server = one.serve(), runserver(one)

    def ask(who: Gateway, path: str, signed_in: bool = False, **options: Any) -> tuple[int, dict[str, str], str]:
        with who.stream(path, cookie=cookie if signed_in else "", **options) as answer:
            names = {"content-type", "cache-control", "vary", "x-accel-buffering", "x-content-type-options", "allow"}
            headers = {name: value for name, value in answer.headers.items() if name in names}
            readable = answer.status != 200 and options.get("method") != "HEAD"
            return answer.status, headers, answer.text() if readable else ""

    for path, options in REQUESTS:
        assert ask(server, path, **options) == ask(gateway, path, **options), (path, options)


@proof
@pytest.mark.parametrize("kind", ["unknown", "another log", "the future", "another nonce"])
def test_every_bad_cursor_is_told_as_the_gateway_tells_it(one: Project, kind: str) -> None:
    gateway, server = one.serve(), runserver(one)
    with gateway.stream(PUBLIC) as stream:
        publish("public:news", "message", 1)
        good = stream.take(1, type="message")[0].id
    _, log, seq, nonce = good.split(".")
    cursors = {
        "unknown": BAD_CURSORS,
        "another log": [f"1.another.{seq}.{nonce}"],
        "the future": [f"1.{log}.{int(seq) + 1}.{nonce}", f"1.{log}.{2**63 - 1}.{nonce}"],
        "another nonce": [f"1.{log}.{seq}.another", f"1.{log}.0.{nonce}"],
    }[kind]
    for cursor in cursors:
        for who in (server, gateway):
            with who.stream(PUBLIC, last_event_id=cursor) as stream:
                reset = stream.until("reset")[-1]
                assert reset.json == {"reason": "unknown" if kind == "unknown" else "rewritten"}, (cursor, who)
                # The stream goes on after it, so the cursor it was given is a good one.
                assert reset.id == good


# In the test's own process, where a clock and a loop can be had.


@pytest.fixture
def frames() -> Iterator[Callable[..., Iterator[bytes]]]:
    """Open streams of the view itself; each `next` is one write."""
    opened: list[StreamingHttpResponse] = []

    def frames(path: str = PUBLIC, **headers: str) -> Iterator[bytes]:
        request = RequestFactory(headers=headers).get(path)
        response = views.stream(request, path.split("/")[2])
        assert isinstance(response, StreamingHttpResponse)
        opened.append(response)
        return iter(response)

    with override_settings(DEBUG=True):
        yield frames
    for response in opened:
        response.close()


@pytest.mark.django_db(transaction=True)
def test_the_first_bytes_come_before_anything_happens(frames: Callable[..., Iterator[bytes]]) -> None:
    first = next(frames())
    events = Parser().feed(first)
    assert first.startswith(b"retry: 2000\n\n")
    assert [event.type for event in events] == ["ping"]


@pytest.mark.django_db(transaction=True)
@override_settings(TASKBELL={"PING": 1})
def test_pings_carry_how_far_the_stream_is(frames: Callable[..., Iterator[bytes]]) -> None:
    stream = frames()
    next(stream)
    publish("public:other", "message", 1)
    ping = Parser().feed(next(stream))[0]
    row = Log.objects.get()
    assert ping.type == "ping"
    assert ping.id == f"1.{LogHead.objects.get().log_id}.{row.seq}.{row.nonce}"


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(views, "time", clock)
    return clock


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Loops `a` every 9 s and `b`, which fails, every 25 s; the list is what was done."""
    stepped: list[str] = []

    def a(alias: str) -> None:
        stepped.append("a")

    def b(alias: str) -> None:
        stepped.append("b")
        raise ValueError("loops may fail")

    loops = [Loop(name="b", seconds=25, step=b), Loop(name="a", seconds=9, step=a)]
    monkeypatch.setattr(views, "registered", lambda: loops)
    monkeypatch.setattr(views, "_chores", views.Chores())
    return stepped


@pytest.mark.django_db(transaction=True)
@override_settings(TASKBELL={"PING": 20})
def test_loops_are_stepped_when_due_and_once_for_all_streams(
    frames: Callable[..., Iterator[bytes]], clock: Clock, stepped: list[str]
) -> None:
    streams = [frames(), frames()]
    for stream in streams:
        next(stream)
    # Each stream runs to its ping at 20 s; the second one comes when the loops were done.
    next(streams[0])
    assert (stepped, round(clock.now)) == (["a", "a"], 20)
    next(streams[1])
    assert stepped == ["a", "a"]
    list(islice(streams[0], 1))
    assert (stepped, round(clock.now)) == (["a", "a", "b", "a", "a"], 40)


def test_a_loop_is_never_stepped_by_two_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    running, enough = threading.Event(), threading.Event()
    steps: list[str] = []

    def slow(alias: str) -> None:
        steps.append(alias)
        running.set()
        enough.wait(10)

    monkeypatch.setattr(views, "registered", lambda: [Loop(name="slow", seconds=0, step=slow)])
    chores = views.Chores()
    chores.do("first")
    thread = threading.Thread(target=chores.do, args=["first"])
    steps.clear()
    running.clear()
    thread.start()
    running.wait(10)
    chores.do("second")
    enough.set()
    thread.join()
    assert steps == ["first"]


@override_settings(DEBUG=True)
def test_under_asgi_it_does_not_hang_but_says_what_is_missing() -> None:
    request: HttpRequest = AsyncRequestFactory().get(PUBLIC)
    assert isinstance(request, ASGIRequest)
    answer = views.stream(request, "public:news")
    assert answer.status_code == 501


def hook(request: HttpRequest) -> None:
    """Nobody is signed in, and the request is as the gateway would give it."""
    assert isinstance(request, ASGIRequest)
    assert request.headers["X-Token"] == "secret"


@pytest.mark.django_db(transaction=True)
@override_settings(DEBUG=True, TASKBELL={"AUTHENTICATE": hook})
def test_authenticate_gets_the_request_that_the_gateway_gives_it() -> None:
    request = RequestFactory(headers={"X-Token": "secret"}).get("/events/")
    assert views.stream(request).status_code == 401
