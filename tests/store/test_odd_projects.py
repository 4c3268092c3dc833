"""Projects that do unusual things which Django allows."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.http import HttpRequest
from django.test import override_settings
from django.test.utils import isolate_apps

from taskbell import publish, publish_many
from taskbell.gateway.access import Caller, Grant, Wish, authorize, still_granted
from taskbell.models import KEY_LENGTH, Log, Outbox
from taskbell.store.head import create_head
from taskbell.store.tick import ACCOUNT_SECONDS, Moved, Ticker
from tests.gateway.real import DATABASES, QUICK, Make, is_, published, say
from tests.servers.postgres import Postgres
from tests.servers.project import Project

# Transactions by hand


@contextmanager
def by_hand() -> Iterator[None]:
    transaction.set_autocommit(False)
    try:
        yield
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)


@DATABASES
def test_a_project_that_commits_by_hand(project: Callable[[str], Project], database: str) -> None:
    project(database)
    create_head("default")
    with by_hand():
        publish("public:news", "message", "rolled back")
        transaction.rollback()
        publish("public:news", "message", "committed")
        publish_many([("public:news", "message", number) for number in range(2)])
        with transaction.atomic():
            publish("public:news", "message", "in a savepoint")
        transaction.commit()
        publish("public:news", "message", "not committed")
    moved = Ticker("default").tick()
    assert isinstance(moved, Moved)
    assert [row.payload for row in moved.rows] == ['"committed"', "0", "1", '"in a savepoint"']


# Accounts in another database


@pytest.mark.proof
def test_a_cut_of_the_accounts_database_does_not_hold_public_events(project: Make, postgres: Postgres) -> None:
    """The thread that numbers events asks there for accounts, on a connection that is then dead."""
    users = project("postgres")
    first, second = users.person("first"), users.person("second")
    cookie = users.sign_in(first)
    name = connection.settings_dict["NAME"]
    one = project("postgres")
    one.configure(**QUICK)
    one.env |= {"DJANGO_SETTINGS_MODULE": "tests.store.two_databases", "TASKBELL_TEST_USERS": users.address}
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as news, gateway.stream(cookie=cookie) as own:
        own.until("ping")
        news.until("ping")
        say("before", to=first)
        assert published(own.until("message")) == ["before"]
        # Somebody new, so that the accounts are asked for.
        say("who", to=second)
        say("are there", to="public:news")
        news.until(is_("are there"))
        postgres.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
        say("new", to=User(pk=second.pk + 1))
        say("after")
        assert published(news.until(is_("after"))) == ["after"]
        say("after", to=first)
        assert published(own.until("message")) == ["after"]


# Keys


class Asking(HttpRequest):
    """A request that knows its user, as AUTHENTICATE of a project returns it."""

    def __init__(self, user: Any) -> None:
        super().__init__()
        self.user = user


def its_user(request: Asking) -> Any:
    return request.user


@pytest.fixture
def accounts(project: Callable[[str], Project], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """`accounts("sqlite", key)`: a user model of this primary key, with its table, in a database of its own."""

    def make(database: str, key: "models.Field[Any, Any]") -> type[AbstractBaseUser]:
        project(database)
        create_head("default")

        class Account(AbstractBaseUser):
            id = key
            is_active = True

            class Meta:
                app_label = "tests"

        with connection.schema_editor() as editor:
            editor.create_model(Account)
        for module in ("outbox", "people"):
            monkeypatch.setattr(f"taskbell.store.{module}.get_user_model", lambda: Account)
        return Account

    with isolate_apps("tests"), override_settings(TASKBELL={"AUTHENTICATE": its_user}):
        yield make


def reaches(user: Any) -> None:
    """An event to this account is on the channel that it reads."""
    publish(user, "message", "for you")
    moved = Ticker("default").tick()
    grant = authorize(Caller(request=Asking(user)), Wish())
    assert isinstance(moved, Moved)
    assert isinstance(grant, Grant)
    assert [row.channel for row in moved.rows] == list(grant.channels)
    assert still_granted([grant]) == [True]


@DATABASES
@pytest.mark.parametrize("pk", ["yamkant", "Yam Kant/얌칸트", " padded ", "0", "007", "x" * KEY_LENGTH])
def test_text_as_a_key(accounts: Callable[..., Any], database: str, pk: str) -> None:
    reaches(accounts(database, models.CharField(primary_key=True, max_length=KEY_LENGTH)).objects.create(pk=pk))


@DATABASES
def test_a_uuid_as_a_key(accounts: Callable[..., Any], database: str) -> None:
    model = accounts(database, models.UUIDField(primary_key=True))
    reaches(model.objects.create(pk=uuid.uuid4()))


def test_a_key_that_the_database_writes_otherwise_stops_nobody(
    accounts: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`YAMKANT` finds `yamkant` where case counts for nothing; it names no account, and others go on."""
    model = accounts("sqlite", models.CharField(primary_key=True, max_length=50, db_collation="nocase"))
    reaches(model.objects.create(pk="yamkant"))
    publish(model(pk="YAMKANT"), "message", "for nobody")
    publish("public:news", "message", "for all")
    now = [0.0]
    ticker = Ticker("default", clock=lambda: now[0])
    moved = ticker.tick()
    assert isinstance(moved, Moved)
    assert [row.payload for row in moved.rows] == ['"for all"']
    now[0] = ACCOUNT_SECONDS
    ticker.tick()
    assert not Outbox.objects.exists()


@pytest.mark.parametrize("pk", [2**63, 2**70, -(2**70)])
def test_a_number_that_no_table_holds_stops_nobody(project: Callable[[str], Project], pk: int) -> None:
    project("sqlite")
    create_head("default")
    publish(User(pk=pk), "message", "a typing error")
    publish("public:news", "message", "for all")
    moved = Ticker("default").tick()
    assert isinstance(moved, Moved)
    assert [row.payload for row in moved.rows] == ['"for all"']


# Tables emptied by hand


@pytest.mark.proof
@DATABASES
def test_a_log_emptied_beside_its_head_is_one_reset(project: Make, database: str) -> None:
    one = project(database)
    one.configure(**QUICK)
    gateway = one.serve()
    with gateway.stream("/events/public:news/") as stream:
        stream.until("ping")
        say(1, 2, 3)
        stream.until(is_(3))
        Log.objects.all().delete()
        stream.until("reset", timeout=5)
        stream.silence(2.2)  # twice POLL
        say("next")
        assert {event.type for event in stream.until(is_("next"))} <= {"ping", "message"}
