"""The fold: outbox rows become notifications and events, once, in order, in few statements."""

import json
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskbell import notify, publish
from taskbell.counts import counted
from taskbell.inbox.fold import IDS_AT_ONCE, UNHEARD_CHANNEL
from taskbell.inbox.push.config import configured
from taskbell.inbox.read import list_notifications, mark
from taskbell.inbox.rows import MOST_IDS, Mark, from_mark
from taskbell.models import Log, Notification, Outbox, Recipient
from taskbell.store.control import ControlEvent, tell
from taskbell.store.head import create_head
from taskbell.store.outbox import insert, key_of
from taskbell.store.tick import ACCOUNT_SECONDS, KEEP_SECONDS, Moved, Ticker
from taskbell.testing import deliver
from tests.inbox.telling import READ_ALL, SEE_ALL, heard, read, row, see, titles

pytestmark = [pytest.mark.contract, pytest.mark.django_db]

User = get_user_model()

ID = str(uuid.UUID(int=1))
SAID = {
    "id": ID, "title": "t", "body": "", "url": "", "level": "info", "kind": "", "key": None, "run": None, "via": [],
    "at": 1.0,
}  # fmt: skip
# By somebody who writes into the outbox what they like.
UNREADABLE = [
    "", "x", "{}", "[]", "5", "null", '"\\u0000"', '{"ids": 5, "all": false, "read": false}',
    '{"ids": [5], "all": false, "read": false}',
    *(
        json.dumps(SAID | {name: value})
        for name, value in [
            ("id", 5), ("id", "x"), ("title", 5), ("title", ""), ("title", "a\0"), ("url", "javascript:alert(1)"),
            ("level", "x"), ("via", "page"), ("run", "x"), ("at", "x"), ("at", 1e300), ("at", None), ("body", None),
        ]
    ),
]  # fmt: skip


class TestNotify:
    def test_is_an_event_on_its_persons_channel_and_a_row_with_its_number(self, ada: Any) -> None:
        publish("public:news", "message", 1)
        notify(ada, "Ready", body="Seven pages", url="/reports/7/", level="success", kind="report")
        events = heard()
        stored, logged = row("Ready"), Log.objects.get(type="notification")
        assert events[1] == (
            "notification",
            {
                "id": str(stored.id), "title": "Ready", "body": "Seven pages", "url": "/reports/7/", "level": "success",
                "kind": "report", "run": None, "at": events[1][1]["at"],
            },
        )  # fmt: skip
        recipient = Recipient.objects.get(user_key=key_of(ada))
        assert (stored.seq, stored.recipient, logged.channel) == (logged.seq, recipient.id, recipient.channel)
        assert (stored.seen_at, stored.read_at, stored.push_at) == (None, None, None)
        assert not Outbox.objects.exists()

    def test_is_numbered_in_the_order_of_the_outbox(self, ada: Any, bob: Any) -> None:
        for n in range(6):
            notify([ada, bob][n % 2], f"{n}")
            publish(ada, "message", n)
        assert [data["title"] if type == "notification" else data for type, data in heard()] == [
            told for n in range(6) for told in (f"{n}", n)
        ]

    def test_costs_few_statements_for_many(self, ada: Any, bob: Any) -> None:
        create_head("default")
        ticker = Ticker("default")
        for n in range(50):
            notify([ada, bob], f"{n}", key=f"k{n}")
        see(ada, uuid.uuid4())
        with CaptureQueriesContext(connection) as captured:
            assert isinstance(ticker.tick(), Moved)
        about = [query["sql"] for query in captured if '"taskbell_notification"' in query["sql"]]
        # By their ids, and by their keys.
        assert [sql.split()[0] for sql in about] == ["SELECT", "SELECT", *["INSERT"] * len(about[2:])]
        # SQLite's own limit of parameters cuts the one INSERT where Django knows a small one.
        assert len(about) == 3 or connection.vendor == "sqlite"

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite plans without statistics")
    @pytest.mark.parametrize(("key", "lookup"), [(None, "(id=?)"), ("k", "(recipient=? AND key=?)")])
    def test_does_not_read_all_that_a_person_has(self, ada: Any, key: str | None, lookup: str) -> None:
        for n in range(20):
            notify(ada, f"{n}", key=key and f"{key}{n}")
        with CaptureQueriesContext(connection) as captured:
            deliver()
        selects = [query["sql"] for query in captured if 'FROM "taskbell_notification"' in query["sql"]]
        with connection.cursor() as cursor:
            cursor.execute(f"explain query plan {selects[-1]}")
            assert [detail.endswith(lookup) for *_, detail in cursor.fetchall()] == [True]

    def test_without_the_page_no_open_page_hears_of_it(self, ada: Any) -> None:
        notify(ada, "Quietly", via=["push"])
        notify(ada, "Aloud")
        deliver()
        channels = dict(Log.objects.values_list("seq", "channel"))
        assert channels[row("Quietly").seq] == UNHEARD_CHANNEL
        # It is not erased with its person, so it says nothing of them.
        assert json.loads(Log.objects.get(channel=UNHEARD_CHANNEL).payload) == {"id": str(row("Quietly").id)}
        assert channels[row("Aloud").seq] == Recipient.objects.get().channel
        assert [one.title for one in list_notifications(ada).notifications] == ["Aloud", "Quietly"]

    @pytest.mark.parametrize("payload", UNREADABLE)
    def test_a_row_that_is_none_is_set_aside_and_stops_nobody(self, ada: Any, payload: str) -> None:
        for kind in ("notify", "seen"):
            Outbox.objects.create(kind=kind, type="notification", user_key=key_of(ada), payload=payload)
        notify(ada, "Ready")
        assert list_notifications(ada).unread == 1
        assert titles(heard()) == ["Ready"]
        assert Outbox.objects.exclude(failed_at=None).count() == 2

    def test_a_row_for_nobody_is_left_out(self, ada: Any) -> None:
        notify(ada, "Nobody's")
        Outbox.objects.update(user_key=None)
        notify(ada, "Ready")
        assert titles(heard()) == ["Ready"]


class TestKey:
    @pytest.mark.parametrize("ticks", [True, False], ids=["across batches", "within a batch"])
    def test_tells_once(self, ada: Any, bob: Any, ticks: bool) -> None:
        doubled = counted().get(("notifications_doubled_total", ""), 0)
        events = []
        for to, title in ((ada, "one"), (ada, "two"), (bob, "three"), (ada, "four")):
            notify(to, title, key="report:7")
            events += heard() if ticks else []
        assert titles(events or heard()) == ["one", "three"]
        assert Notification.objects.count() == 2
        assert counted()["notifications_doubled_total", ""] == doubled + 2

    def test_without_one_everything_is_told(self, ada: Any) -> None:
        notify(ada, "same")
        notify(ada, "same")
        assert titles(heard()) == ["same", "same"]

    def test_the_same_row_twice_is_one(self, ada: Any) -> None:
        notify(ada, "once")
        again = Outbox.objects.get()
        assert titles(heard()) == ["once"]
        again.save(force_insert=True)
        assert heard() == []
        assert Notification.objects.count() == 1


class TestAccount:
    def test_one_that_is_not_visible_is_waited_for_a_minute(self, ada: Any) -> None:
        clock = Clock()
        create_head("default")
        ticker = Ticker("default", clock)
        notify(ada, "Welcome")
        notify(ada, "Never", key="k")
        Outbox.objects.filter(payload__contains="Never").update(user_key="999999")
        User.objects.filter(pk=ada.pk).update(username="still invisible")
        assert [one.type for one in moved(ticker)] == ["notification"]
        clock.now += KEEP_SECONDS
        assert moved(ticker) == []
        assert Outbox.objects.count() == 1
        clock.now += ACCOUNT_SECONDS
        assert moved(ticker) == []
        assert (Outbox.objects.count(), ticker.dropped, ticker.failed) == (0, 1, 0)

    def test_whoever_has_the_key_of_a_deleted_one_gets_nothing_of_it(self, ada: Any, bob: Any) -> None:
        """All of it in one batch, and another person's before it, so that inboxes come first."""
        notify(ada, "Before")
        deliver()
        notify(bob, "Bob's")
        notify(ada, "For the old account")
        tell([ControlEvent("deleted", key_of(ada))], "default")
        notify(ada, "For the new account")
        assert titles(heard()) == ["Bob's", "For the new account"]
        assert row("For the new account").recipient == Recipient.objects.get(user_key=key_of(ada)).id
        assert [one.title for one in list_notifications(ada).notifications] == ["For the new account"]


class TestSeen:
    def test_of_some(self, ada: Any) -> None:
        for n in range(3):
            notify(ada, f"{n}")
        deliver()
        ids = [row(f"{n}").id for n in range(3)]
        see(ada, ids[2], ids[0])
        assert heard() == [("seen", {"ids": [str(ids[2]), str(ids[0])], "read": False, "unread": 3})]
        read(ada, ids[0], ids[1])
        assert heard() == [("seen", {"ids": [str(ids[0]), str(ids[1])], "read": True, "unread": 1})]
        assert [(row(f"{n}").seen_at is not None, row(f"{n}").read_at is not None) for n in range(3)] == [
            (True, True), (True, True), (True, False),
        ]  # fmt: skip

    def test_what_is_seen_already_makes_no_event(self, ada: Any) -> None:
        notify(ada, "a")
        deliver()
        id = row("a").id
        insert([from_mark(Mark((id, id), read=read), key_of(ada)) for read in (False, False, True, True, False)])
        assert heard() == [
            ("seen", {"ids": [str(id)], "read": False, "unread": 1}),
            ("seen", {"ids": [str(id)], "read": True, "unread": 0}),
        ]

    def test_of_all(self, ada: Any, bob: Any) -> None:
        notify([ada, bob], "a")
        notify([ada, bob], "b")
        deliver()
        mark(ada, SEE_ALL)
        assert heard() == [("seen", {"ids": [], "read": False, "unread": 2, "all": True})]
        mark(ada, READ_ALL)
        assert heard() == [("seen", {"ids": [], "read": True, "unread": 0, "all": True})]
        insert([from_mark(SEE_ALL, key_of(ada)), from_mark(READ_ALL, key_of(ada))])
        assert heard() == []
        assert Notification.objects.filter(read_at=None, seen_at=None).count() == 2

    def test_all_is_what_came_before_it(self, ada: Any) -> None:
        notify(ada, "before")
        deliver()
        notify(ada, "in the same batch before")
        mark(ada, READ_ALL)
        notify(ada, "after")
        assert [data.get("unread") for _, data in heard()] == [None, 0, None]
        assert {one.title: one.read_at is not None for one in Notification.objects.all()} == {
            "before": True, "in the same batch before": True, "after": False,
        }  # fmt: skip

    def test_of_what_is_in_the_same_batch_and_the_count_runs_along(self, ada: Any) -> None:
        for n in range(3):
            notify(ada, f"{n}")
        [first, second, third] = [uuid.UUID(json.loads(one.payload)["id"]) for one in Outbox.objects.order_by("id")]
        read(ada, first)
        read(ada, third)
        see(ada, second, third)
        notify(ada, "3")
        read(ada, second)
        events = [data for type, data in heard() if type == "seen"]
        assert [(data["ids"], data["read"], data["unread"]) for data in events] == [
            ([str(first)], True, 2), ([str(third)], True, 1), ([str(second)], False, 1), ([str(second)], True, 1),
        ]  # fmt: skip

    def test_what_is_anothers_stays_as_it_is(self, ada: Any, bob: Any) -> None:
        notify(bob, "Bob's")
        deliver()
        insert([from_mark(Mark((row("Bob's").id, uuid.uuid4()), read=True), key_of(ada))])
        assert heard() == []
        assert row("Bob's").read_at is None

    def test_of_more_than_one_select_takes(self, ada: Any) -> None:
        many = IDS_AT_ONCE + 3 * MOST_IDS
        for n in range(many):
            notify(ada, f"{n}")
        deliver()
        ids = list(Notification.objects.order_by("seq").values_list("id", flat=True))
        for start in range(0, many, MOST_IDS):
            insert([from_mark(Mark(tuple(ids[start : start + MOST_IDS]), read=True), key_of(ada))])
        assert [data["unread"] for _, data in heard()] == list(range(many - MOST_IDS, -1, -MOST_IDS))


class TestPush:
    """When Web Push is due; what becomes of it is in tests/inbox/push."""

    # Of no use to this gateway. Another one may be able to send, by a file of the key that only it can read.
    PUSH: ClassVar = {"PRIVATE_KEY": "/nowhere/vapid", "CONTACT": "mailto:ann@example.com"}

    @pytest.fixture(autouse=True)
    def _wanted(self) -> Iterator[None]:
        with override_settings(TASKBELL={"PUSH": self.PUSH}):
            assert configured() is None
            yield

    def test_is_due_a_little_later_for_those_who_have_not_seen_it(self, ada: Any) -> None:
        with override_settings(TASKBELL={"PUSH": self.PUSH, "PUSH_AFTER": 60}):
            for via in (None, ["push"], ["page"], []):
                notify(ada, str(via), via=via)
            deliver()
        for title, due in (("None", 60), ("['push']", 60), ("['page']", None), ("[]", None)):
            one = row(title)
            assert ((one.push_at - one.created_at).total_seconds() if one.push_at else None) == due

    def test_is_not_due_any_more_once_it_is_seen(self, ada: Any) -> None:
        for title in ("seen", "read", "all", "new"):
            notify(ada, title)
            deliver()
            if title == "seen":
                see(ada, row(title).id)
            if title == "read":
                read(ada, row(title).id)
            if title == "all":
                mark(ada, SEE_ALL)
        notify(ada, "in the same batch")
        see(ada, uuid.UUID(json.loads(Outbox.objects.latest("id").payload)["id"]))
        deliver()
        assert set(Notification.objects.exclude(push_at=None).values_list("title", flat=True)) == {"new"}


def test_without_web_push_none_is_due(ada: Any) -> None:
    notify(ada, "Ready")
    deliver()
    assert row("Ready").push_at is None


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def moved(ticker: Ticker) -> list[Any]:
    answer = ticker.tick()
    assert isinstance(answer, Moved), answer
    return list(answer.rows)


# What two people may do in any order; the number says which of a few notifications or keys is meant.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(["notify", "notify with a key", "see", "read", "see all", "read all"]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=16,
)


class Paper:
    """What ought to be: an inbox as a list, without a thought for batches."""

    def __init__(self) -> None:
        self.inbox: list[dict[str, Any]] = []
        self.events: list[tuple[str, Any, int]] = []

    def notify(self, title: str, key: str | None) -> None:
        if key is None or all(one["key"] != key for one in self.inbox):
            self.inbox.append({"title": title, "key": key, "seen": False, "read": False})
            self.events.append(("notification", title, -1))

    def mark(self, title: str | None, what: str) -> None:
        meant = [one for one in self.inbox if title in (None, one["title"]) and not one[what]]
        for one in meant:
            one["seen"], one["read"] = True, one["read"] or what == "read"
        if meant:
            self.events.append(("seen", what == "read", sum(not one["read"] for one in self.inbox)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, doubled=st.booleans())
def test_any_order_cut_anywhere_and_doubled_ends_as_on_paper(
    ada: Any, bob: Any, steps: list[tuple[int, str, int, bool]], doubled: bool
) -> None:
    """The last value of a step says whether there is a tick after it; a reader is asked at every one."""
    Notification.objects.all().delete()
    people, papers = (ada, bob), (Paper(), Paper())
    ids: dict[str, uuid.UUID] = {}
    before = Log.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
    for at, (who, step, number, ticks) in enumerate(steps):
        title, paper = f"{who}:{at}", papers[who]
        match step.split():
            case ["notify", *with_key]:
                key = f"k{number}" if with_key else None
                notify(people[who], title, key=key)
                ids[title] = uuid.UUID(json.loads(Outbox.objects.latest("id").payload)["id"])
                paper.notify(title, key)
            case [what, "all"]:
                insert([from_mark(Mark(all=True, read=what == "read"), key_of(people[who]))])
                paper.mark(None, "read" if what == "read" else "seen")
            case [what]:
                meant = list(ids)[number] if number < len(ids) else "nothing"
                marked = Mark((ids.get(meant, uuid.uuid4()),), read=what == "read")
                insert([from_mark(marked, key_of(people[who]))])
                paper.mark(meant, "read" if what == "read" else "seen")
        if doubled:
            again = Outbox.objects.latest("id")
            again.pk = None
            again.save(force_insert=True)
        for person, expected in zip(people, papers, strict=True):
            compare(person, expected)
        if ticks:
            deliver()
    deliver()
    for person, expected in zip(people, papers, strict=True):
        compare(person, expected)
        channel = Recipient.objects.filter(user_key=key_of(person)).first()
        logged = Log.objects.filter(seq__gt=before, channel=channel.channel if channel else "").order_by("seq")
        told = [(one.type, json.loads(one.payload)) for one in logged]
        assert [(type, data.get("title", data.get("read")), data.get("unread", -1)) for type, data in told] == (
            expected.events
        )


def compare(person: Any, paper: Paper) -> None:
    page = list_notifications(person, 100).as_json()
    assert [(one["title"], one["seen"], one["read"]) for one in reversed(page["notifications"])] == [
        (one["title"], one["seen"], one["read"]) for one in paper.inbox
    ]
    assert page["unread"] == sum(not one["read"] for one in paper.inbox)


def test_the_time_is_the_gateways_own(ada: Any) -> None:
    """A worker's clock may be wrong by years, and retention counts from here."""
    notify(ada, "Ready")
    waiting = Outbox.objects.get()
    waiting.payload = json.dumps(json.loads(waiting.payload) | {"at": 10.0})
    waiting.save()
    deliver()
    assert abs((timezone.now() - row("Ready").created_at).total_seconds()) < 60
