"""Whoever lost access is shown out, whatever happened to the database's connections or to another person's check."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest
from django.test import override_settings

from taskbell.gateway.access import Caller, Grant, Refusal, Wish, authorize, still_granted
from tests.gateway.real import QUICK, Make, published, say
from tests.servers.postgres import Postgres

HOOK = "tests.gateway.test_recheck."


@pytest.mark.proof
def test_a_person_is_shown_out_after_every_connection_was_cut(project: Make, postgres: Postgres) -> None:
    """As after a restart or a failover: the threads that ask again hold connections that are dead."""
    one = project("postgres")
    one.configure(**QUICK)
    leaves, stays = one.person("leaves"), one.person("stays")
    cookies = [one.sign_in(leaves), one.sign_in(stays)]
    gateway = one.serve()
    with gateway.stream(cookie=cookies[0]) as leaving, gateway.stream(cookie=cookies[1]) as staying:
        leaving.until("ping")
        database = connection.settings_dict["NAME"]
        connection.close()
        postgres.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'")
        User.objects.filter(pk=leaves.pk).update(is_active=False)
        assert leaving.rest()[-1].json == {"reason": "signed_out"}
        say("still there", to=stays)
        assert published(staying.until("message")) == ["still there"]


def by_header(request: HttpRequest) -> User | None:
    name = request.META["NAME"]
    if request.META.get("EXPIRED"):
        raise PermissionError("the token is over its time")
    return User.objects.filter(username=name).first()


async def anybody(*_: Any) -> User:
    """What a project might write by mistake: true before it was awaited."""
    return User(pk=1, username="anybody")


class AsyncRule:
    async def __call__(self, *_: Any) -> bool:
        return True


def asked(name: str) -> HttpRequest:
    request = HttpRequest()
    request.META["NAME"] = name
    return request


def status(found: Grant | Refusal) -> int:
    return 200 if isinstance(found, Grant) else found.status


@pytest.mark.django_db
@override_settings(TASKBELL={"AUTHENTICATE": f"{HOOK}by_header"})
def test_a_check_that_raises_is_a_no_for_that_person_alone(caplog: pytest.LogCaptureFixture) -> None:
    requests = [asked(User.objects.create_user(name).username) for name in ("inactive", "expired", "stays")]
    grants = [authorize(Caller(request=request), Wish()) for request in requests]
    assert [status(grant) for grant in grants] == [200] * 3
    User.objects.filter(username="inactive").update(is_active=False)
    requests[1].META["EXPIRED"] = True
    assert still_granted(grant for grant in grants if isinstance(grant, Grant)) == [False, False, True]
    assert status(authorize(Caller(request=requests[1]), Wish())) == 401
    assert "over its time" in caplog.text


@pytest.mark.django_db
@pytest.mark.parametrize("hook", [f"{HOOK}anybody", AsyncRule()], ids=["function", "object"])
def test_a_coroutine_authorizes_nobody(hook: str | Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(TASKBELL={"AUTHORIZE": hook}):
        assert status(authorize(Caller(), Wish("secret:plans"))) == 404
        assert "write a plain function" in caplog.text
        assert status(authorize(Caller(), Wish("public:news"))) == 200


@pytest.mark.django_db
def test_a_coroutine_authenticates_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(TASKBELL={"AUTHENTICATE": f"{HOOK}anybody"}):
        assert status(authorize(Caller(request=asked("x")), Wish())) == 401
        assert "write a plain function" in caplog.text
        assert status(authorize(Caller(request=asked("x")), Wish("public:news"))) == 200
