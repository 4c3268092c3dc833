"""Committed means delivered; rolled back means never seen."""

import subprocess
import sys
import time
from contextlib import suppress

import pytest
from django.db import transaction

from taskbell import publish, publish_many
from taskbell.store.outbox import Outbox
from taskbell.store.people import account_name
from tests.gateway.real import DATABASES, KINDS, QUICK, Make, Start, is_, published, say
from tests.servers.project import ROOT

pytestmark = pytest.mark.proof


@DATABASES
@KINDS
def test_a_commit_reaches_an_open_stream(project: Make, database: str, start: Start) -> None:
    one = project(database)
    yamkant, minji = one.person("yamkant"), one.person("minji")
    gateway = start(one)
    with (
        gateway.stream("/events/yamkant/", cookie=one.sign_in(yamkant)) as own,
        gateway.stream("/events/", cookie=one.sign_in(minji)) as hers,
        gateway.stream("/events/public:news/") as news,
        gateway.stream("/events/?channel=public:news&channel=public:other") as both,
    ):
        for stream in (own, hers, news, both):
            assert stream.status == 200
            assert stream.read().type == "ping"
        with transaction.atomic():
            publish(yamkant, "message", {"msg": "안녕"})
            publish_many([("public:other", "a.b-c_1", [1]), ("public:news", "message", None), (minji, "x", "hers")])
        assert [(e.type, e.json) for e in own.until("message")[-1:]] == [("message", {"msg": "안녕"})]
        assert published(hers.until("x")) == ["hers"]
        assert published(news.until("message")) == [None]
        assert published(both.until("message")) == [[1], None], "in the order of publishing, over channels too"


@KINDS
def test_what_a_stream_opens_with(project: Make, start: Start) -> None:
    one = project("sqlite")
    gateway = start(one)
    with gateway.stream("/events/public:news/", record=True) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["x-content-type-options"] == "nosniff"
        assert stream.headers["vary"] == "Cookie, Origin"
        assert "access-control-allow-origin" not in stream.headers
        assert "content-length" not in stream.headers
        assert "content-encoding" not in stream.headers
        ping = stream.read()
        assert (ping.type, ping.data) == ("ping", "{}")
        assert len(ping.id) <= 64
        assert bytes(stream.raw).startswith(b"retry: 2000\n\n")


@KINDS
def test_a_stream_says_whose_it_is(project: Make, start: Start) -> None:
    """By its session and by its pass; the stream of nobody in particular says nothing."""
    one = project("sqlite")
    yamkant, minji = one.person("yamkant"), one.person("minji")
    gateway = start(one)
    cookie = one.sign_in(yamkant)
    with gateway.stream("/events/", cookie=cookie) as own, gateway.stream("/events/public:news/") as news:
        assert own.headers["taskbell-account"] == account_name(str(yamkant.pk))
        assert "taskbell-account" not in news.headers
        passes = own.headers["set-cookie"].partition(";")[0]
    with gateway.stream("/events/", cookie=f"{cookie}; {passes}") as again:
        assert "set-cookie" not in again.headers
        assert again.headers["taskbell-account"] == account_name(str(yamkant.pk))
    with gateway.stream("/events/", cookie=one.sign_in(minji)) as hers:
        assert hers.headers["taskbell-account"] == account_name(str(minji.pk)) != account_name(str(yamkant.pk))


@DATABASES
def test_what_is_rolled_back_is_never_seen(project: Make, database: str) -> None:
    one = project(database)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        start = stream.read().id
        with suppress(LookupError), transaction.atomic():
            publish("public:news", "message", "rolled back")
            raise LookupError
        with transaction.atomic():
            publish("public:news", "message", "before the savepoint")
            with suppress(LookupError), transaction.atomic():
                publish("public:news", "message", "rolled back to the savepoint")
                raise LookupError
            publish("public:news", "message", "after the savepoint")
        with transaction.atomic():
            publish("public:news", "message", "rolled back by hand")
            transaction.set_rollback(True)
        say("last")
        seen = ["before the savepoint", "after the savepoint", "last"]
        assert published(stream.until(is_("last"))) == seen
    with gateway.stream("/events/public:news/", last_event_id=start) as stream:
        assert published(stream.until(is_("last"))) == seen


@DATABASES
def test_nothing_shows_before_its_transaction_ends(project: Make, database: str) -> None:
    one = project(database)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        with transaction.atomic():
            publish("public:news", "message", "held")
            stream.silence(0.5)
        assert published(stream.until(is_("held"))) == ["held"]


@DATABASES
def test_what_was_committed_while_no_gateway_ran_is_seen_once(project: Make, database: str) -> None:
    one = project(database)
    yamkant = one.person("yamkant")
    cookie = one.sign_in(yamkant)
    gateway = one.serve()
    with gateway.stream(cookie=cookie) as stream:
        ping = stream.read()
    assert gateway.stop() == 0
    say(*range(5), to=yamkant)
    gateway = one.serve()
    with gateway.stream(cookie=cookie, last_event_id=ping.id) as stream:
        seen = stream.until(is_(4))
        assert [event.json for event in seen if event.type == "message"] == [0, 1, 2, 3, 4]
        say("and on", to=yamkant)
        assert stream.take(1, type="message")[0].json == "and on"
    assert not Outbox.objects.exists()


@DATABASES
def test_an_account_made_in_the_same_transaction_gets_its_first_event(project: Make, database: str) -> None:
    one = project(database)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        cursor = stream.read().id
    with transaction.atomic():
        newcomer = one.person("newcomer")
        publish(newcomer, "message", "welcome")
    with gateway.stream(cookie=one.sign_in(newcomer), last_event_id=cursor) as stream:
        assert published(stream.until("message")) == ["welcome"]


@DATABASES
def test_another_process_publishes(project: Make, database: str) -> None:
    """The bell rings from a process that ends at once; even if it does not get to ring, POLL finds the row."""
    one = project(database)
    one.configure(**QUICK)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        done = one.run("taskbell", "publish", "public:news", "message", '{"from": "a shell"}')
        assert done.returncode == 0, done.stderr
        assert published(stream.until("message", timeout=5)) == [{"from": "a shell"}]


@DATABASES
def test_a_publisher_killed_before_its_commit_leaves_nothing(project: Make, database: str) -> None:
    one = project(database)
    gateway = one.serve()
    code = (
        "import django, os; django.setup()\n"
        "from django.db import transaction; from taskbell import publish\n"
        "publish('public:news', 'message', 'committed')\n"
        "with transaction.atomic():\n"
        "    publish('public:news', 'message', 'not committed')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        killed = subprocess.run([sys.executable, "-c", code], env=one.env, cwd=ROOT, check=False, timeout=30)
        assert killed.returncode == -9
        say("last")
        assert published(stream.until(is_("last"))) == ["committed", "last"]


@DATABASES
def test_without_any_wakeup_events_arrive_within_the_poll_interval(project: Make, database: str) -> None:
    one = project(database)
    one.configure(WAKEUP="poll", POLL=1)
    gateway = one.serve()
    waited = []
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        for number in range(3):
            # At an uneven moment of the interval, and not just after an event, when the pump looks more often.
            time.sleep(0.37)
            began = time.monotonic()
            say(number)
            stream.until(is_(number), timeout=5)
            waited.append(time.monotonic() - began)
    assert max(waited) < 2.5, "POLL, and a busy machine"
    assert max(waited) > 0.05, "nobody woke it"
