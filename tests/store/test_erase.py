"""A person is forgotten: nothing that was theirs is left in any table, and nothing of it comes back."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskbell import get_run, publish, testing
from taskbell.models import Forgotten, Log, Notification, Outbox, PushSubscription, Recipient, Run
from taskbell.runs.facts import to_row
from taskbell.runs.read import list_runs
from taskbell.runs.states import Fact, Identity, Kind
from taskbell.store import gone as gone_module
from taskbell.store.batches import BATCH_ROWS
from taskbell.store.clock import PatientClock
from taskbell.store.control import CONTROL_CHANNEL, ControlEvent, tell
from taskbell.store.erase import erase
from taskbell.store.forgotten import name_of, since_of
from taskbell.store.gone import PIECE, SURE_SECONDS, Gone
from taskbell.store.log import place_of_head, read_after
from taskbell.store.outbox import insert, key_of
from taskbell.store.people import addresses_of, channels_of, forgotten_upto, recipient_of
from taskbell.store.prune import prune

ALIAS = "default"
MARK = "zanzibar"
pytestmark = [pytest.mark.contract, pytest.mark.django_db]


@pytest.fixture
def ben() -> User:
    return User.objects.create(username="ben")


def run_of(user: User, *, asked_at: float | None = None, **changes: Any) -> Identity:
    fields: dict[str, Any] = {
        "run": str(uuid4()),
        "task_id": str(uuid4()),
        "engine": "test",
        "name": f"tasks.{MARK}",
        "label": MARK,
        "user_key": key_of(user),
        "queued_at": time.time(),
        "asked_at": asked_at,
    }
    return Identity(**fields | changes)


def tell_of(identity: Identity, kind: Kind, **fields: Any) -> None:
    insert([to_row(Fact(identity=identity, kind=kind, at=time.time(), execution="1", **fields))])


def fill(user: User) -> Identity:
    """Give a person something in every table, and return a run that is under way."""
    identity = run_of(user)
    for kind in ("queued", "started"):
        tell_of(identity, kind)  # type: ignore[arg-type]
    tell_of(identity, "progress", done=1.0, total=2.0, message=MARK)
    publish(user, MARK, {"text": MARK})
    testing.deliver()
    recipient = recipient_of(key_of(user), ALIAS)
    assert recipient is not None
    Notification.objects.create(recipient=recipient, title=MARK, body=MARK, url=f"/{MARK}/", created_at=timezone.now())
    PushSubscription.objects.create(
        recipient=recipient, endpoint=f"https://push.example/{MARK}", endpoint_sha256=str(user.pk), p256dh="", auth=""
    )
    Outbox.objects.create(
        kind="mystery", type="x", payload=json.dumps(MARK), user_key=key_of(user), failed_at=timezone.now()
    )
    publish(user, "message", MARK)
    return identity


def found(text: str) -> list[str]:
    """Return the tables of ours in which the text is, in any column of any row."""
    return [
        model._meta.db_table
        for model in apps.get_app_config("taskbell").get_models()
        for row in model._default_manager.values()
        if text in str(row)
    ]


def settle() -> None:
    """Do what a gateway does, until there is nothing left to do."""
    testing.deliver()
    while Forgotten.objects.filter(erased_at=None).exists():
        erase(ALIAS)


def test_nothing_is_left_in_any_table(ada: User, ben: User) -> None:
    fill(ada)
    assert len(set(found(MARK))) == 5
    address = str(recipient_of(key_of(ada), ALIAS))
    ada.delete()
    settle()
    assert found(MARK) == []
    held = set(found(address) + found(UUID(address).hex))
    # The log has the word to the gateways, and who was forgotten is remembered by a name.
    assert held <= {"taskbell_log", "taskbell_forgotten"}
    assert not Recipient.objects.exists()


def test_what_is_others_stays(ada: User, ben: User) -> None:
    fill(ada)
    identity = fill(ben)
    theirs = Log.objects.filter(channel=channels_of([key_of(ben)], ALIAS)[key_of(ben)])
    before = theirs.count()
    ada.delete()
    settle()
    assert theirs.count() == before + 1, "with what had waited for them"
    assert get_run(identity.run, ben) is not None
    assert Notification.objects.count() == PushSubscription.objects.count() == 1
    assert Outbox.objects.filter(kind="mystery").count() == 1


def test_numbers_stay_and_everybody_reads_on(ada: User) -> None:
    publish("public:news", "message", 1)
    testing.deliver()
    place = place_of_head(ALIAS)
    fill(ada)
    publish("public:news", "message", 2)
    ada.delete()
    settle()
    assert place is not None
    page = read_after(place, ALIAS)
    assert [row.seq for row in page.rows] == list(range(2, page.head.seq + 1))  # type: ignore[union-attr]
    assert [row.payload for row in page.rows if row.channel == "public:news"] == ["2"]  # type: ignore[union-attr]
    blanked = Log.objects.filter(channel=None)
    assert blanked.exists()
    assert set(blanked.values_list("type", "payload", "latest_key")) == {("", "", None)}


def test_twice_and_of_nobody_is_harmless(ada: User) -> None:
    fill(ada)
    key = key_of(ada)
    for _ in range(2):
        tell(
            [ControlEvent("deleted", key), ControlEvent("deleted", "nobody has this"), ControlEvent("deleted", key)],
            ALIAS,
        )
        settle()
    assert found(MARK) == []
    assert erase(ALIAS) == 0


def test_one_whose_account_stays_begins_anew(ada: User) -> None:
    identity = fill(ada)
    before = recipient_of(key_of(ada), ALIAS)
    tell([ControlEvent("deleted", key_of(ada))], ALIAS)
    settle()
    tell_of(identity, "succeeded", result=MARK)
    publish(ada, "message", "welcome")
    settle()
    assert found(MARK) == []
    assert recipient_of(key_of(ada), ALIAS) not in (None, before)
    assert Log.objects.filter(payload='"welcome"').exists()


def test_in_batches_and_bounded_in_time(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick that forgets touches none of a person's many rows, and a step of erasing ends when its time is up."""
    channel = channels_of([key_of(ada)], ALIAS)[key_of(ada)]
    rows = 3 * BATCH_ROWS
    Log.objects.bulk_create([
        Log(seq=seq, nonce="n", channel=channel, type="message", payload=f'"{MARK}"') for seq in range(1, rows + 1)
    ])  # fmt: skip
    ada.delete()
    with CaptureQueriesContext(connection) as queries:
        testing.deliver()
    touched = [query["sql"] for query in queries if query["sql"].startswith(("UPDATE", "DELETE"))]
    assert not [sql for sql in touched if '"taskbell_log"' in sql]
    left = []
    while erase(ALIAS, seconds=0) == 0:
        left.append(Log.objects.filter(channel=channel).count())
    assert left == [2 * BATCH_ROWS, BATCH_ROWS, 0]


# The same key again


def again(user: User) -> User:
    """Delete an account and create another one with the same key and name."""
    key, name = user.pk, user.username
    user.delete()
    return User.objects.create(pk=key, username=name)


def test_before_the_tick_the_next_account_of_the_key_reads_nothing(ada: User) -> None:
    identity = fill(ada)
    waiting = run_of(ada)
    tell_of(waiting, "queued")
    new = again(ada)
    assert forgotten_upto(key_of(new), ALIAS)
    assert recipient_of(key_of(new), ALIAS) is None
    assert [get_run(one.run, new) for one in (identity, waiting)] == [None, None]
    assert list_runs(new)[0] == []
    own = run_of(new, label="mine")
    tell_of(own, "queued")
    assert [run.label for run in list_runs(new)[0]] == ["mine"]
    settle()
    assert [run.label for run in list_runs(new)[0]] == ["mine"]


LATE: dict[str, Callable[[Identity], Identity]] = {
    "of a run that was known": lambda known: known,
    "of a run that was not": lambda known: run_of(User(pk=known.user_key), queued_at=known.queued_at),
    "of a task that it enqueued since": lambda known: run_of(
        User(pk=known.user_key), parent=known.run, root=known.run, asked_at=known.origin
    ),
}


@pytest.mark.parametrize("late", LATE)
def test_a_task_of_the_old_account_tells_the_new_one_nothing(ada: User, late: str) -> None:
    identity = fill(ada)
    new = again(ada)
    publish(new, "message", "welcome")
    settle()
    told = LATE[late](identity)
    tell_of(told, "started")
    tell_of(told, "succeeded", result=MARK)
    settle()
    assert found(MARK) == []
    assert list_runs(new)[0] == []
    assert not Outbox.objects.exists()
    own = run_of(new)
    tell_of(own, "started")
    settle()
    assert get_run(own.run, new) is not None


def test_what_comes_late_for_nobody_does_not_wait(ada: User) -> None:
    """An account that is not visible may still come, but one that was forgotten does not."""
    identity = fill(ada)
    ada.delete()
    settle()
    tell_of(identity, "succeeded", result=MARK)
    testing.deliver()
    assert found(MARK) == []


def test_what_an_open_transaction_had_published_is_not_for_the_next(ada: User) -> None:
    """Its row has a lower id, and is seen when the tick has long forgotten its person."""
    fill(ada)
    new = again(ada)
    settle()
    addresses_of([key_of(new)], ALIAS)
    Outbox.objects.create(
        kind="event",
        type="x",
        payload=f'"{MARK}"',
        user_key=key_of(new),
        created_at=timezone.now() - timedelta(hours=1),
    )
    settle()
    assert found(MARK) == []


def test_the_memory_of_a_key_survives_another_secret(ada: User) -> None:
    key = key_of(ada)
    ada.delete()
    settle()
    assert set(since_of([key, "other"], ALIAS)) == {key}
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[]):
        assert since_of([key], ALIAS) == {}
    from django.conf import settings

    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert set(since_of([key], ALIAS)) == {key}
    assert name_of(key) not in (key, name_of("other"))


# Accounts that went without a signal


@pytest.fixture
def minutes() -> Iterator[Callable[[], int]]:
    """Each call is a step of the loop, 30 minutes after the one before."""
    now = count(1_000_000, 1_800)
    watching = Gone(PatientClock(), lambda: float(next(now)))
    return lambda: watching.step(ALIAS)  # type: ignore[return-value]


def by_sql(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("delete from auth_user where id = %s", [user.pk])


def test_an_account_that_went_by_sql_is_forgotten_within_the_hour(
    ada: User, ben: User, minutes: Callable[[], int]
) -> None:
    fill(ada)
    fill(ben)
    by_sql(ada)
    assert [minutes() for _ in range(3)] == [0, 0, 1]
    settle()
    assert Recipient.objects.get().user_key == key_of(ben)
    assert Notification.objects.count() == PushSubscription.objects.count() == 1
    assert [minutes() for _ in range(3)] == [0, 0, 0]


def test_one_that_comes_back_is_not(ada: User, minutes: Callable[[], int]) -> None:
    fill(ada)
    key, found_again = ada.pk, User(pk=ada.pk, username="ada")
    by_sql(ada)
    assert minutes() == 0
    found_again.save(force_insert=True)
    assert [minutes() for _ in range(3)] == [0, 0, 0]
    by_sql(User(pk=key))
    assert [minutes() for _ in range(3)] == [0, 0, 1], "counted anew"
    assert SURE_SECONDS == 3_600


def test_all_recipients_are_looked_through_a_piece_at_a_time(
    minutes: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone_module, "PIECE", 3)
    Recipient.objects.bulk_create([Recipient(user_key=str(10_000 + number)) for number in range(7)])
    told = [minutes() for _ in range(9)]
    assert sum(told) == 7
    assert max(told) <= 3 < PIECE


def test_push_subscriptions_of_nobody_go_and_the_memory_of_long_ago(ada: User, minutes: Callable[[], int]) -> None:
    fill(ada)
    PushSubscription.objects.create(
        recipient=uuid4(), endpoint="https://push.example/", endpoint_sha256="x", p256dh="", auth=""
    )
    for days in (1, 40):
        at = timezone.now() - timedelta(days=days)
        Forgotten.objects.create(recipient=uuid4(), name="n", since=at, forgotten_at=at, erased_at=at)
    Forgotten.objects.create(recipient=uuid4(), name="n", since=at, forgotten_at=at)
    minutes()
    assert PushSubscription.objects.count() == 1
    assert Forgotten.objects.count() == 2


def test_the_word_to_the_gateways_goes_with_its_age(ada: User) -> None:
    fill(ada)
    address = str(recipient_of(key_of(ada), ALIAS))
    ada.delete()
    settle()
    assert Log.objects.filter(channel=CONTROL_CHANNEL, payload__contains=address).exists()
    publish("public:news", "message", 1)
    testing.deliver()
    newest = Log.objects.order_by("-seq")[0].seq
    Log.objects.exclude(seq=newest).update(sequenced_at=timezone.now() - timedelta(days=2))
    prune(ALIAS)
    assert found(address) == ["taskbell_forgotten"]
    assert Run.objects.count() == 0
