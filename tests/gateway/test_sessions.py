"""Sessions are only read: whatever Django would renew or throw away stays as the browser's cookie names it."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.test import Client, override_settings

from taskbell.gateway.access import Caller, Grant, Wish, authorize, still_granted

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

STORED = ["db", "cache", "cached_db", "file"]
ENGINES = pytest.mark.parametrize("engine", [*STORED, "signed_cookies"])


@pytest.fixture(autouse=True)
def places(tmp_path: Path) -> Any:
    with override_settings(SESSION_FILE_PATH=str(tmp_path)):
        yield
    cache.clear()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("yamkant", password="one")


def sign_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def caller(client: Client) -> Caller:
    return Caller(session_key=client.cookies["sessionid"].value)


def rotated(*, fallbacks: bool) -> Any:
    old = [settings.SECRET_KEY] if fallbacks else []
    return override_settings(SECRET_KEY="the next one, as good for nothing", SECRET_KEY_FALLBACKS=old)


def engine_setting(engine: str) -> Any:
    return override_settings(SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}")


@ENGINES
def test_every_engine_of_django_is_read(user: User, engine: str) -> None:
    with engine_setting(engine):
        asking = caller(sign_in(user))
        grant = authorize(asking, Wish())
        assert isinstance(grant, Grant)
        assert grant.person == str(user.pk)
        assert still_granted([grant]) == [True]
        assert not isinstance(authorize(Caller(session_key=f"{asking.session_key}x"), Wish()), Grant)
        user.set_password("two")
        user.save()
        assert still_granted([grant]) == [False]


@pytest.mark.parametrize("engine", STORED)
def test_signing_out_is_noticed(user: User, engine: str) -> None:
    """Where the session is in the browser alone (`signed_cookies`), nobody can take it back."""
    with engine_setting(engine):
        client = sign_in(user)
        grant = authorize(caller(client), Wish())
        assert isinstance(grant, Grant)
        client.logout()
        assert still_granted([grant]) == [False]


@ENGINES
def test_a_new_secret_key_with_the_old_one_as_fallback_signs_nobody_out(user: User, engine: str) -> None:
    """`get_user` gives such a session a new key and deletes the old; nobody here could tell the browser."""
    with engine_setting(engine):
        client = sign_in(user)
        before = authorize(caller(client), Wish())
        assert isinstance(before, Grant)
        with rotated(fallbacks=True):
            for _ in range(2):
                assert isinstance(authorize(caller(client), Wish()), Grant), "opened again by the same cookie"
                assert still_granted([before, before]) == [True, True]
            assert browser_is_signed_in(client)


def browser_is_signed_in(client: Client) -> bool:
    store = import_module(settings.SESSION_ENGINE).SessionStore(caller(client).session_key)
    return "_auth_user_id" in store.load()


def test_reading_changes_no_session(user: User) -> None:
    client = sign_in(user)
    asking = caller(client)
    stored = list(Session.objects.values())

    def ask() -> bool:
        return isinstance(authorize(asking, Wish()), Grant)

    def answers(expected: bool) -> None:
        assert ask() is expected
        assert list(Session.objects.values()) == stored

    answers(True)
    with rotated(fallbacks=True):
        answers(True)
    # Without the fallback Django would flush it, and an operator who puts the fallback back has lost everyone.
    with rotated(fallbacks=False):
        answers(False)
    with rotated(fallbacks=True):
        answers(True)
    answers(True)
