"""History that changes under open streams and returning pages: never silence, never somebody else's."""

import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from taskbell import publish_many
from taskbell.ground.cursor import Cursor
from taskbell.models import Log, LogHead, Outbox
from taskbell.store.head import new_epoch
from tests.gateway.real import DATABASES, KINDS, QUICK, Make, Start, is_, published, say
from tests.gateway.test_request import BAD_CURSORS
from tests.servers.project import Project
from tests.servers.sse import Event, Stream

pytestmark = pytest.mark.proof

TABLES = ["taskbell_log", "taskbell_log_head", "taskbell_outbox"]


def reasons(events: list[Event]) -> list[str]:
    return [event.json["reason"] for event in events if event.type == "reset"]


def replay(stream: Stream, last: Any = "last") -> tuple[list[Any], list[str]]:
    """Return the payloads up to `last` and the reasons of resets before it."""
    events = stream.until(is_(last))
    return published(events), reasons(events)


class Copy:
    """A backup of the events, put back as an operator would: over the running system."""

    def __init__(self, one: Project) -> None:
        self.one = one
        self.path = one.folder / "backup.sqlite3"
        if connection.vendor == "sqlite":
            with sqlite3.connect(one.address) as live, sqlite3.connect(self.path) as copy:
                live.backup(copy)
            live.close()
            copy.close()
        else:
            with connection.cursor() as cursor:
                for table in TABLES:
                    cursor.execute(f"create table copy_of_{table} as table {table}")

    def restore(self) -> None:
        if connection.vendor == "sqlite":
            connection.close()
            place = Path(self.one.address)
            fresh = place.with_suffix(".new")
            shutil.copyfile(self.path, fresh)
            for journal in ("-wal", "-shm"):
                place.with_name(place.name + journal).unlink(missing_ok=True)
            fresh.replace(place)
        else:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"truncate {', '.join(TABLES)}")
                for table in TABLES:
                    cursor.execute(f"insert into {table} select * from copy_of_{table}")


@DATABASES
def test_a_copy_restored_under_a_live_stream_is_told_before_anything_later(project: Make, database: str) -> None:
    one = project(database)
    one.configure(**QUICK)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        say("kept")
        stream.until(is_("kept"))
        copy = Copy(one)
        say("lost 1", "lost 2")
        stream.until(is_("lost 2"))
        cursor = stream.last_event_id
        copy.restore()
        reset = stream.until(lambda event: event.type != "ping", timeout=10)[-1]
        assert (reset.type, reset.json) == ("reset", {"reason": "rewritten"})
        say("new")
        assert published(stream.until(is_("new"))) == ["new"]
    with gateway.stream("/events/public:news/", last_event_id=cursor) as stream:
        first, second = stream.take(2)
        assert (first.type, first.json) == ("reset", {"reason": "rewritten"})
        assert second.type == "ping"
    with gateway.stream("/events/public:news/", last_event_id=reset.id) as stream:
        assert replay(stream, "new") == (["new"], []), "the place of the reset is one to go on from"


@DATABASES
def test_a_restored_history_that_grew_past_the_stream_is_told_by_its_nonces(project: Make, database: str) -> None:
    """The head is where it was, but it is another past: here a gateway was frozen while another one went on."""
    one = project(database)
    one.configure(**QUICK)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        copy = Copy(one)
        say("lost 1", "lost 2")
        stream.until(is_("lost 2"))
        gateway.pause()
        copy.restore()
        other = one.serve()
        with other.stream("/events/public:news/") as witness:
            witness.until("ping")
            say("new 1", "new 2", "new 3")
            witness.until(is_("new 3"))
        gateway.resume()
        first = stream.until(lambda event: event.type != "ping", timeout=10)[-1]
        assert (first.type, first.json) == ("reset", {"reason": "rewritten"})
        say("last")
        read = published(stream.until(is_("last")))
        assert read[-1] == "last"
        assert not {"lost 1", "lost 2"} & set(read)


@DATABASES
@KINDS
def test_flush_under_a_live_gateway_goes_on_under_a_new_name(project: Make, database: str, start: Start) -> None:
    one = project(database)
    one.configure(**QUICK)
    gateway = start(one)
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        say("before")
        before = Cursor.parse(stream.until(is_("before"))[-1].id)
        flushed = one.run("flush", "--no-input")
        assert flushed.returncode == 0, flushed.stderr
        reset = stream.until("reset", timeout=10)[-1]
        assert reset.json == {"reason": "rewritten"}
        assert Cursor.parse(reset.id).log_id != before.log_id
        say("after")
        assert published(stream.until(is_("after"))) == ["after"]
    with gateway.stream("/events/public:news/", last_event_id=reset.id) as stream:
        assert replay(stream, "after") == (["after"], [])
    assert LogHead.objects.get().seq == 1


@DATABASES
def test_a_new_epoch_resets_streams_and_cursors(project: Make, database: str) -> None:
    one = project(database)
    one.configure(**QUICK)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        old = stream.read().id
        new_epoch("default")
        assert reasons(stream.until("reset", timeout=5)) == ["rewritten"]
        say("last")
        stream.until(is_("last"))
    with gateway.stream("/events/public:news/", last_event_id=old) as stream:
        assert reasons([stream.read()]) == ["rewritten"]


# Replay


@DATABASES
@KINDS
def test_window_and_log_replay_the_same(project: Make, database: str, start: Start) -> None:
    """A gateway that remembers everything and one that remembers a single frame tell the same story."""
    one = project(database)
    one.configure(**QUICK)
    big = start(one)
    with big.stream("/events/?channel=public:a&channel=public:b") as stream:
        places = [stream.read().id]
        with transaction.atomic():
            publish_many((f"public:{'abc'[n % 3]}", "message", {"n": n, "text": "x" * n}) for n in range(60))
        say("last", to="public:a")
        live = stream.until(is_("last"))
    places += [event.id for event in live][:-1]
    one.configure(WINDOW_BYTES=1)
    small = start(one)
    for place in places[:: len(places) // 7]:
        wanted = [(e.id, e.type, e.data) for e in live if Cursor.parse(e.id).seq > Cursor.parse(place).seq]
        for gateway in (big, small):
            with gateway.stream("/events/?channel=public:b&channel=public:a", last_event_id=place) as stream:
                told = [(e.id, e.type, e.data) for e in stream.until(is_("last")) if e.type != "ping"]
                assert told == wanted


@pytest.mark.parametrize("window", [16 * 1024 * 1024, 1], ids=["from the window", "from the log"])
@DATABASES
def test_more_than_the_limit_is_one_reset_and_nothing_of_the_past(project: Make, database: str, window: int) -> None:
    one = project(database)
    one.configure(**QUICK, REPLAY_LIMIT=5, WINDOW_BYTES=window)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        places = [stream.read().id]
        say(*range(6))
        places += [event.id for event in stream.until(is_(5)) if event.type == "message"]
    with gateway.stream("/events/public:news/", last_event_id=places[0]) as stream:
        events = stream.until("reset")
        say("later")
        events += stream.until(is_("later"))
        assert [(e.type, e.json) for e in events if e.type != "ping"] == [
            ("reset", {"reason": "too_much"}),
            ("message", "later"),
        ]
    say(*range(6, 9), to="public:other")
    with gateway.stream("/events/public:news/", last_event_id=places[2]) as stream:
        assert replay(stream, "later") == ([2, 3, 4, 5, "later"], []), "what others were sent does not count"


@DATABASES
def test_what_was_pruned_is_said_to_be_expired(project: Make, database: str) -> None:
    one = project(database)
    one.configure(**QUICK, EVENT_AGE=3600, WINDOW_BYTES=1)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        start = stream.read().id
        say(*range(4))
        old = [event.id for event in stream.until(is_(3)) if event.type == "message"]
        Log.objects.update(sequenced_at=timezone.now() - timedelta(hours=2))
        say("young 1", "young 2")
        young = [event.id for event in stream.until(is_("young 2")) if event.type == "message"]
    pruned = one.run("taskbell", "prune")
    assert pruned.returncode == 0, pruned.stderr
    assert Log.objects.count() == 2
    for gone in [start, *old[:2]]:
        with gateway.stream("/events/public:news/", last_event_id=gone) as stream:
            events = stream.until("reset")
            say("later")
            events += stream.until(is_("later"))
            assert (published(events), reasons(events)) == (["later"], ["expired"])
    with gateway.stream("/events/public:news/", last_event_id=young[0]) as stream:
        assert replay(stream, "later")[0][0] == "young 2", "what retention covers is still there"


@DATABASES
def test_only_the_newest_progress_is_replayed(project: Make, database: str) -> None:
    one = project(database)
    one.configure(**QUICK, WINDOW_BYTES=1)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        start = stream.read().id
        for number in range(4):
            Outbox.objects.create(
                kind="event", channel="public:news", type="message", payload=f'"{number} %"', latest_key="run"
            )
        say("last")
        live = published(stream.until(is_("last")))
        assert live[-2:] == ["3 %", "last"]
    for window in (1, 1_000_000):
        one.configure(WINDOW_BYTES=window)
        with one.serve().stream("/events/public:news/", last_event_id=start) as stream:
            assert replay(stream) == (["3 %", "last"], [])


# Cursors


@KINDS
def test_no_bad_cursor_brings_silence_or_somebody_elses_past(project: Make, start: Start) -> None:
    one = project("sqlite")
    one.configure(**QUICK)
    yamkant, minji = one.person("yamkant"), one.person("minji")
    gateway = start(one)
    cookie = one.sign_in(yamkant)
    with gateway.stream(cookie=one.sign_in(minji)) as hers, gateway.stream(cookie=cookie) as stream:
        begin = stream.read().id
        hers_at = hers.read().id
        say("secret", to=minji)
        hers_at = hers.until(is_("secret"))[-1].id
        say("mine", to=yamkant)
        mine_at = stream.until(is_("mine"))[-1].id
    true = Cursor.parse(begin)
    forged = [
        str(Cursor(true.log_id, 2, "forged")),
        str(Cursor(true.log_id, 1, "forged")),
        str(Cursor("otherlog", 1, "forged")),
        str(Cursor(true.log_id, 10**15, true.nonce)),
        str(Cursor(true.log_id, 2**63 - 1, true.nonce)),
        mine_at[:-1],
        mine_at[:-1] + chr(ord(mine_at[-1]) ^ 1),
    ]
    sent_as_is = [text for text in BAD_CURSORS if text.isascii() and text.isprintable()]
    for text in [*forged, *sent_as_is]:
        with gateway.stream(cookie=cookie, last_event_id=text) as stream:
            assert stream.status == 200
            events = stream.until("reset", timeout=6)
            assert published(events) == [], text
            assert reasons(events)[0] in {"rewritten", "unknown"}
            assert events[-1].id not in {text, ""}, "it goes on from a place of ours"
    for place, expected in [(begin, ["mine"]), (hers_at, ["mine"]), (mine_at, [])]:
        with gateway.stream(cookie=cookie, last_event_id=place) as stream:
            say("last", to=yamkant)
            events = stream.until(is_("last"))
            assert published(events)[: len(expected) + 1] == [*expected, "last"], "a place, not a key to anyone's past"
            assert reasons(events) == []


@KINDS
def test_cursors_that_http_cannot_carry_are_refused(project: Make, start: Start) -> None:
    gateway = start(project("sqlite"))
    with gateway.stream(
        "/events/public:news/", headers={"Last-Event-ID": "1.a.1.b", "last-event-id": "1.a.2.b"}
    ) as two:
        assert two.status == 400
    with gateway.stream("/events/public:news/", headers={"Last-Event-ID": "\0"}) as nul:
        assert nul.status == 400
    with gateway.stream("/events/public:news/?after=1.a.1.b&lastEventId=1.a.2.b") as query:
        assert query.status == 400
    with gateway.stream("/events/public:news/?after=%00%0d%0aid:%20x") as escaped:
        assert reasons([escaped.read()]) == ["unknown"]
    with gateway.stream("/events/public:news/", last_event_id="x\r\nX-Smuggled: 1") as smuggled:
        assert reasons([smuggled.read()]) == ["unknown"]
        assert "x-smuggled" not in smuggled.headers


@pytest.mark.parametrize("resume", ["header", "after", "lastEventId"])
def test_every_way_to_resume(project: Make, resume: str) -> None:
    one = project("sqlite")
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        place = stream.read().id
    say("missed")
    if resume == "header":
        stream = gateway.stream("/events/public:news/", last_event_id=place)
    else:
        stream = gateway.stream(f"/events/public:news/?{resume}={place}")
    with stream:
        assert replay(stream, "missed") == (["missed"], [])


def test_a_browser_that_comes_from_a_faster_gateway_waits_for_this_one(project: Make) -> None:
    """Its cursor is ahead of what this gateway has read, and true."""
    one = project("postgres")
    one.configure(**QUICK, WAKEUP="poll")
    slow = one.serve()
    with slow.stream("/events/public:news/") as stream:
        stream.read()
    slow.pause()
    fast = one.serve()
    with fast.stream("/events/public:news/") as stream:
        stream.read()
        say("seen elsewhere")
        place = stream.until(is_("seen elsewhere"))[-1].id
    slow.resume()
    with slow.stream("/events/public:news/", last_event_id=place) as stream:
        say("next")
        assert replay(stream, "next") == (["next"], [])
