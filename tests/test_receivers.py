"""What ends access is told to the gateways, in the transaction of the change, whatever else happens."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import serializers
from django.db import connection, transaction
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskbell import publish, receivers, testing
from taskbell.models import Log, Outbox, Recipient
from taskbell.store.control import CONTROL_CHANNEL, ControlEvent, read, session_name
from taskbell.store.log import LogRow
from taskbell.store.people import channels_of

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

EVERYBODY = ControlEvent("changed", None)


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada", password="one")


def told() -> list[ControlEvent]:
    """Return and clear what the gateways will be told."""
    rows = Outbox.objects.order_by("id")
    found = [read(LogRow(row.id, "", CONTROL_CHANNEL, row.type, row.payload, None)) for row in rows]
    rows.delete()
    return [event for event in found if event is not None]


def session_of(client: Client) -> str:
    return session_name(client.cookies["sessionid"].value)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


CHANGES: dict[str, Callable[[User], Any]] = {
    "another password": lambda ada: (ada.set_password("two"), ada.save()),
    "not active": lambda ada: (setattr(ada, "is_active", False), ada.save(update_fields=["is_active"])),
    "saved": lambda ada: ada.save(),
    "last_login and another field": lambda ada: ada.save(update_fields=["last_login", "email"]),
    "into a group": lambda ada: ada.groups.add(Group.objects.get()),
    "by the group": lambda ada: Group.objects.get().user_set.set([ada]),
    "a permission": lambda ada: ada.user_permissions.add(Permission.objects.first()),
}


@pytest.fixture(autouse=True)
def group() -> Group:
    return Group.objects.create(name="editors")


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_an_account_is_told(ada: User, change: str) -> None:
    CHANGES[change](ada)
    assert told() == [ControlEvent("changed", str(ada.pk))]


def test_a_proxy_of_the_account_is_the_account(ada: User) -> None:
    class Person(User):
        class Meta:
            proxy = True
            app_label = "auth"

    try:
        receivers.connect()
        person = Person.objects.get()
        person.save()
        key = str(person.pk)
        person.delete()
        assert told() == [ControlEvent("changed", key), ControlEvent("deleted", key)]
    finally:
        del Person._meta.apps.all_models["auth"]["person"]
        Person._meta.apps.clear_cache()


def test_an_account_that_is_deleted_is_told_once(ada: User) -> None:
    key = str(ada.pk)
    ada.delete()
    assert told() == [ControlEvent("deleted", key)]
    User.objects.create_user("minji")
    User.objects.all().delete()
    assert [event.change for event in told()] == ["deleted"]


NOTHING: dict[str, Callable[[User], Any]] = {
    "signing in": lambda ada: Client().force_login(ada),
    "a new account": lambda ada: User.objects.create_user("minji"),
    "a new group": lambda ada: Group.objects.create(name="others"),
    "a group again": lambda ada: (ada.groups.remove(Group.objects.get()), ada.groups.set([])),
    "a session of nobody": lambda ada: visitor().flush(),
    "nobody signs out": lambda ada: Client().logout(),
}


def visitor() -> Any:
    session = Client().session
    session["cart"] = [1]
    session.save()
    return session


@pytest.mark.parametrize("change", NOTHING)
def test_what_ends_nobodys_access_is_not_told(ada: User, change: str) -> None:
    NOTHING[change](ada)
    assert [event for event in told() if event.change != "changed"] == []


def test_fixtures_are_loaded_in_silence(ada: User) -> None:
    ada.groups.add(Group.objects.get())
    Group.objects.get().permissions.add(Permission.objects.all()[0])
    text = serializers.serialize("json", [*Group.objects.all(), ada])
    told()
    for loaded in serializers.deserialize("json", text):
        loaded.save()
    assert told() == []
    assert ada.groups.exists()


EVERYBODYS: dict[str, Callable[[Group], Any]] = {
    "renamed": lambda group: group.save(),
    "deleted": lambda group: group.delete(),
    "may more": lambda group: group.permissions.add(Permission.objects.all()[0]),
    "emptied": lambda group: group.user_set.clear(),
    "by many": lambda group: group.user_set.add(*many()),
}


def many() -> list[User]:
    count = receivers.MOST_NAMED + 1
    return User.objects.bulk_create([User(username=f"person {number}") for number in range(count)])


@pytest.mark.parametrize("change", EVERYBODYS)
def test_what_changes_a_group_is_told_of_everybody(group: Group, change: str) -> None:
    EVERYBODYS[change](group)
    assert told() == [ControlEvent("changed", None)]


# Sessions


@pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
def test_signing_out_names_the_session_once(ada: User, engine: str, tmp_path: Path) -> None:
    path = {"SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}", "SESSION_FILE_PATH": str(tmp_path)}
    with override_settings(**path):
        client = signed_in(ada)
        session = session_of(client)
        client.logout()
        assert told() == [ControlEvent("ended", str(ada.pk), session)]


def test_a_session_that_is_deleted_is_named(ada: User) -> None:
    sessions = {session_of(signed_in(ada)) for _ in range(2)}
    Session.objects.all().delete()
    assert {event.session for event in told()} == sessions


def test_a_session_that_had_run_out_is_no_news(ada: User) -> None:
    signed_in(ada)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    Session.objects.all().delete()
    assert told() == []


def test_the_name_of_a_session_does_not_give_it_away(ada: User) -> None:
    client = signed_in(ada)
    key = client.cookies["sessionid"].value
    client.logout()
    assert "ended" in str(Outbox.objects.values())
    assert key not in str(Outbox.objects.values())


# In the transaction at hand, and never in the way


def test_a_change_that_is_rolled_back_was_never_told(ada: User) -> None:
    with transaction.atomic():
        ada.save()
        transaction.set_rollback(True)
    assert told() == []


def test_one_insert(ada: User) -> None:
    with CaptureQueriesContext(
        connection,
    ) as queries:
        ada.save()
    sql = [query["sql"] for query in queries]
    assert [text.split()[0] for text in sql] == ["UPDATE", "SAVEPOINT", "INSERT", "RELEASE"]


def test_a_change_is_made_though_it_cannot_be_told(ada: User, caplog: pytest.LogCaptureFixture) -> None:
    with connection.cursor() as cursor:
        cursor.execute("alter table taskbell_outbox rename to away")
    ada.email = "ada@example.com"
    with transaction.atomic():
        ada.save()
    assert User.objects.filter(email="ada@example.com").exists()
    assert "could not be told" in caplog.text


def test_captured_by_a_projects_tests_is_only_what_it_published(ada: User) -> None:
    with testing.capture() as published:
        ada.save()
    assert len(published) == 0


# The same key again


def test_whoever_is_given_the_key_of_a_deleted_account_has_another_recipient(ada: User) -> None:
    key = str(ada.pk)
    before = channels_of([key], "default")
    ada.delete()
    testing.deliver()
    assert not Recipient.objects.exists()
    User.objects.create(pk=key, username="ada")
    assert channels_of([key], "default")[key] != before[key]


def test_what_was_published_to_a_deleted_account_is_not_for_the_next_one_of_its_key(ada: User) -> None:
    """All of it between two ticks, so the account that the tick can see is already the other one."""
    key = str(ada.pk)
    publish(ada, "message", "a secret")
    ada.delete()
    again = User.objects.create(pk=key, username="ada")
    publish(again, "message", "welcome")
    testing.deliver()
    assert list(Log.objects.exclude(channel=CONTROL_CHANNEL).values_list("payload", flat=True)) == ['"welcome"']


def test_an_account_without_a_recipient_is_told_too(ada: User) -> None:
    ada.delete()
    testing.deliver()
    assert list(Log.objects.values_list("channel", "type")) == [(CONTROL_CHANNEL, "deleted")]
