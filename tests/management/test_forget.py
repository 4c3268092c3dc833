"""Whom an operator means, what `forget` says, and what `export` prints."""

import builtins
import io
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError
from django.utils import timezone

from taskbell import publish, testing
from taskbell.management.verbs import export, forget
from taskbell.models import Forgotten, Notification, Outbox, PushSubscription, Recipient
from taskbell.store.erase import erase
from taskbell.store.outbox import key_of
from taskbell.store.people import recipient_of
from tests.management.calls import taskbell
from tests.store.test_erase import fill

pytestmark = pytest.mark.django_db(transaction=True)
ALIAS = "default"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forget, "WAIT_SECONDS", 0.0)


def test_what_it_says_on_the_way(ada: User) -> None:
    publish(ada, "message", 1)
    testing.deliver()
    assert "no gateway runs" in taskbell("forget", "ada", "--yes")[1]
    assert "forget  1 people are not erased yet" in taskbell("status")[1]
    testing.deliver()
    person = forget.named("ada", is_key=False)
    assert "A gateway goes on deleting" in forget.outcome(person, ALIAS, 0)
    assert erase(ALIAS) == 1
    assert forget.outcome(person, ALIAS, 0) == f"ada (key {ada.pk}) is forgotten, and everything is erased."
    assert "forget" not in taskbell("status")[1]


def test_prune_finishes_it_where_no_gateway_runs(ada: User) -> None:
    fill(ada)
    ada.delete()
    testing.deliver()
    assert taskbell("prune")[1].splitlines()[1:] == ["Erased 1 people."]
    assert not Forgotten.objects.filter(erased_at=None).exists()


@pytest.mark.parametrize(("answer", "asked"), [("y", 1), ("", 0), ("no", 0)])
def test_it_asks(ada: User, monkeypatch: pytest.MonkeyPatch, answer: str, asked: int) -> None:
    monkeypatch.setattr(builtins, "input", lambda prompt: answer)
    status, _ = taskbell("forget", "ada")
    assert status == 1 - asked
    assert Outbox.objects.filter(kind="forget").count() == asked


def test_with_nobody_to_ask_it_says_what_to_add(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(CommandError, match="--yes"):
        taskbell("forget", "ada")


def test_by_name_by_key_and_by_the_key_of_nobody(ada: User) -> None:
    key = key_of(ada)
    for arguments in (["ada"], [key], [key, "--key"], ["999", "--key"]):
        taskbell("forget", *arguments, "--yes")
    assert list(Outbox.objects.order_by("id").values_list("user_key", flat=True)) == [key, key, key, "999"]


def test_a_name_that_is_anothers_key_is_refused(ada: User) -> None:
    other = User.objects.create(username=str(ada.pk))
    with pytest.raises(CommandError, match="--key"):
        taskbell("forget", str(ada.pk), "--yes")
    taskbell("forget", str(ada.pk), "--key", "--yes")
    assert Outbox.objects.get().user_key == key_of(ada) != key_of(other)


@pytest.mark.parametrize("user", ["nobody", "", "9" * 30, "\udc80", "-1", "1.5"])
def test_who_is_not_there(user: str) -> None:
    for verb, options in (("forget", ["--yes"]), ("export", [])):
        with pytest.raises(CommandError, match="--key"):
            taskbell(verb, user, *options)
    assert not Outbox.objects.exists()


@pytest.mark.parametrize("key", ["x" * 129, "a\0b"])
def test_what_can_be_no_key(key: str) -> None:
    with pytest.raises(CommandError, match="at most 128"):
        taskbell("forget", key, "--key", "--yes")


def exported(*arguments: str) -> Any:
    return json.loads(taskbell("export", *arguments)[1])


def test_everything_of_a_person_and_nothing_of_others(ada: User) -> None:
    fill(User.objects.create(username="ben"))
    testing.deliver()
    identity = fill(ada)
    recipient = recipient_of(key_of(ada), ALIAS)
    told = exported("ada")
    assert told["person"] == {"key": key_of(ada), "name": "ada", "recipient": str(recipient)}
    assert [run["id"] for run in told["runs"]] == [identity.run]
    assert [one["title"] for one in told["notifications"]] == ["zanzibar"]
    assert set(told["notifications"][0]) == set(export.NOTIFICATION)
    assert {event["type"] for event in told["events"]} == {"run", "zanzibar"}
    assert [row["kind"] for row in told["waiting"]] == ["mystery", "event"]
    assert [browser["service"] for browser in told["push_subscriptions"]] == ["push.example"]
    assert "push.example/" not in json.dumps(told)


def test_of_somebody_with_nothing(ada: User) -> None:
    told = exported("ada")
    assert told.pop("person") == {"key": key_of(ada), "name": "ada", "recipient": None}
    assert set(map(str, told.values())) == {"[]"}
    assert exported("999", "--key")["person"]["name"] is None


def test_nothing_of_an_account_that_had_the_key_before(ada: User) -> None:
    fill(ada)
    key = ada.pk
    ada.delete()
    User.objects.create(pk=key, username="ada")
    assert "zanzibar" not in json.dumps(exported("ada"))


def test_it_is_written_row_by_row(ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "CHUNK_ROWS", 2)
    recipient = Recipient.objects.create(user_key=key_of(ada)).id
    Notification.objects.bulk_create([
        Notification(recipient=recipient, title=f"{number} “”\n", created_at=timezone.now()) for number in range(7)
    ])  # fmt: skip
    PushSubscription.objects.create(recipient=recipient, endpoint="nonsense", endpoint_sha256="x", p256dh="", auth="")
    pieces = [*export.pieces(export.named("ada", is_key=False), ALIAS)]
    assert len(pieces) > 10
    told = json.loads("".join(pieces))
    assert sorted(one["title"] for one in told["notifications"]) == [f"{number} “”\n" for number in range(7)]
    assert told["push_subscriptions"][0]["service"] is None
