"""Pings, age, limits, and access that is lost while a stream is open."""

import time
from contextlib import ExitStack

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from taskbell import publish
from taskbell.ground.cursor import Cursor
from tests.gateway.real import DATABASES, KINDS, QUICK, Make, Start, is_, published, say

pytestmark = pytest.mark.proof


@KINDS
def test_pings_come_at_once_and_then_now_and_then_with_the_place(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    gateway = start(one)
    with gateway.stream("/events/public:news/") as stream:
        began = time.monotonic()
        first = stream.read()
        assert time.monotonic() - began < 1
        say("for others", to="public:other")
        pings = stream.take(3, timeout=8)
        assert [(ping.type, ping.json) for ping in pings] == [("ping", {})] * 3
        assert Cursor.parse(pings[-1].id).seq == Cursor.parse(first.id).seq + 1, "up to here there was nothing for you"
        say("for you")
        seq = Cursor.parse(stream.until(is_("for you"))[-1].id).seq
        assert Cursor.parse(stream.until("ping")[-1].id).seq == seq
    with gateway.stream("/events/public:news/", last_event_id=first.id) as stream:
        assert stream.read().id == first.id, "while resuming, the first ping claims nothing"
        assert published(stream.until(is_("for you"))) == ["for you"]


@KINDS
def test_a_stream_ends_at_its_age_and_comes_back_to_its_place(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK, STREAM_AGE=2)
    gateway = start(one)
    with gateway.stream("/events/public:news/") as stream:
        began = time.monotonic()
        say("one")
        events = stream.rest()
        age = time.monotonic() - began
    assert [(e.type, e.json) for e in events[-1:]] == [("bye", {"reason": "age"})]
    assert stream.retry is not None
    assert published(events[:-1]) == ["one"]
    assert 1.5 < age < 6, "a second or so past it, because pings notice"
    say("two")
    with gateway.stream("/events/public:news/", last_event_id=stream.last_event_id) as stream:
        assert published(stream.until(is_("two"))) == ["two"]


@KINDS
def test_the_oldest_stream_of_a_person_makes_room(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK, STREAMS_PER_PERSON=3)
    yamkant, minji = one.person("yamkant"), one.person("minji")
    gateway = start(one)
    with ExitStack() as stack:
        cookies = [one.sign_in(yamkant), one.sign_in(yamkant), one.sign_in(minji)]
        hers = stack.enter_context(gateway.stream(cookie=cookies[2]))
        streams = []
        for number in range(5):
            streams.append(stack.enter_context(gateway.stream(cookie=cookies[number % 2])))
            streams[-1].until("ping")
        for oldest in streams[:2]:
            assert oldest.rest()[-1].json == {"reason": "limit"}
        say("for those who stay", to=yamkant)
        assert [published(stream.until("message")) for stream in streams[2:]] == [["for those who stay"]] * 3
        publish(minji, "x", 1)
        assert published(hers.until("x")) == [1]


@KINDS
def test_statuses(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK, CHANNELS_PER_STREAM=4, AUTHORIZE="tests.gateway.rules.own_projects")
    yamkant = one.person("yamkant")
    one.person("minji")
    cookie = one.sign_in(yamkant)
    gateway = start(one)
    channels = "&".join(f"channel=public:{n}" for n in range(5))
    for path, sent, status in [
        ("/events/", "", 401),
        ("/events/yamkant/", "", 401),
        ("/events/minji/", cookie, 404),
        ("/events/nobody/", cookie, 404),
        ("/events/user:1/", cookie, 404),
        ("/events/taskbell:control/", cookie, 404),
        ("/events/project:yamkant/", cookie, 200),
        ("/events/project:minji/", cookie, 404),
        ("/events/project:minji/", "", 404),
        ("/events/?channel=project:yamkant&channel=public:x", cookie, 200),
        ("/events/?channel=project:yamkant&channel=project:minji", cookie, 404),
        (f"/events/?{channels}", "", 400),
        (f"/events/?{channels.rpartition('&')[0]}", "", 200),
        ("/events/?channel=", cookie, 400),
        ("/events/public:a%0ab/", cookie, 404),
        ("/events/public:a/b/", cookie, 404),
        ("/events/public%3anews/", cookie, 200),
        ("/events/public:news", "", 200),
        ("/events/yamkant/", cookie, 200),
        ("/events/", cookie, 200),
        ("/events/", "sessionid=forged", 401),
        ("/events/public:news/", "sessionid=forged", 200),
        ("/nowhere/", cookie, 404),
    ]:
        with gateway.stream(path, cookie=sent) as stream:
            assert (path, stream.status) == (path, status)
            if status != 200:
                assert path == "/nowhere/" or stream.headers["connection"] == "close"
                assert "retry-after" not in stream.headers


@DATABASES
@KINDS
def test_whoever_may_not_read_any_more_is_shown_out(project: Make, database: str, start: Start) -> None:
    """Signed out, deactivated, and out of a team: each within RECHECK, and nothing reaches them afterwards."""
    one = project(database)
    one.configure(**QUICK | {"PING": 20}, AUTHORIZE="tests.gateway.rules.own_projects")
    people = [one.person(name) for name in ("signed-out", "inactive", "renamed", "stays")]
    cookies = [one.sign_in(person) for person in people]
    gateway = start(one)
    with ExitStack() as stack:
        paths = ["/events/", "/events/", "/events/project:renamed/", "/events/"]
        streams = [
            stack.enter_context(gateway.stream(path, cookie=cookie))
            for path, cookie in zip(paths, cookies, strict=True)
        ]
        other = stack.enter_context(gateway.stream("/events/public:news/"))
        for stream in [*streams, other]:
            stream.until("ping")
        began = time.monotonic()
        Session.objects.filter(pk=cookies[0].removeprefix("sessionid=")).delete()
        User.objects.filter(username="inactive").update(is_active=False)
        User.objects.filter(username="renamed").update(username="another")
        for stream in streams[:3]:
            events = stream.rest(timeout=5)
            assert [(event.type, event.json) for event in events] == [("bye", {"reason": "signed_out"})]
        assert time.monotonic() - began < 5
        for person in people:
            say("later", to=person)
        say("later")
        assert published(streams[3].until("message")) == ["later"]
        assert published(other.until("message")) == ["later"]
    for path, cookie, status in zip(paths, cookies, [401, 401, 404, 200], strict=True):
        with gateway.stream(path, cookie=cookie) as stream:
            assert stream.status == status


@KINDS
def test_other_sites_may_not_read(project: Make, start: Start) -> None:
    one = project("sqlite")
    cookie = one.sign_in(one.person("yamkant"))
    gateway = start(one)
    for headers, status in [
        ({"Origin": f"http://127.0.0.1:{gateway.port}", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": f"http://127.0.0.1:{gateway.port}.evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ]:
        with gateway.stream(cookie=cookie, headers=headers) as stream:
            assert (headers, stream.status) == (headers, status)
            assert not [name for name in stream.headers if name.startswith("access-control")]
