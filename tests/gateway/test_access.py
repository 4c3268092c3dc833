"""Who may read what: at connect and at every later check."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.http import HttpRequest
from django.test import Client, override_settings

from taskbell.gateway.access import (
    Caller,
    Grant,
    Refusal,
    Wish,
    authorize,
    may_read,
    open_to_anybody,
    recipient_of,
    still_granted,
)
from taskbell.models import Recipient

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

NOBODY = Caller()
RULES = override_settings(TASKBELL={"AUTHORIZE": "tests.gateway.rules.own_projects"})


@pytest.fixture
def yamkant() -> User:
    return User.objects.create_user("yamkant", password="one")


@pytest.fixture
def minji() -> User:
    return User.objects.create_user("minji")


def session(user: User) -> Caller:
    client = Client()
    client.force_login(user)
    return Caller(session_key=client.cookies["sessionid"].value)


def channels(found: Grant | Refusal) -> tuple[str, ...]:
    assert isinstance(found, Grant), found
    return found.channels


def status(found: Grant | Refusal) -> int:
    return 200 if isinstance(found, Grant) else found.status


# The own stream


@pytest.mark.parametrize("name", [None, "yamkant"])
def test_the_signed_in_person_reads_their_own_channel(yamkant: User, name: str | None) -> None:
    found = authorize(session(yamkant), Wish(name))
    assert channels(found) == (f"user:{Recipient.objects.get(user_key=yamkant.pk).pk}",)
    assert isinstance(found, Grant)
    assert found.person == str(yamkant.pk)


def test_their_channel_stays_the_same(yamkant: User) -> None:
    before = recipient_of(yamkant)
    assert channels(authorize(session(yamkant), Wish())) == (f"user:{before}",)
    assert Recipient.objects.count() == 1


@pytest.mark.parametrize("name", ["minji", "YAMKANT", "yamkant ", "nobody", "5", "*", "%", "../yamkant", "yamkant/x"])
def test_somebody_elses_name_is_not_found_whether_they_exist_or_not(yamkant: User, minji: User, name: str) -> None:
    assert status(authorize(session(yamkant), Wish(name))) == 404


def test_an_alias_is_the_user_name_and_not_the_key(yamkant: User) -> None:
    assert status(authorize(session(yamkant), Wish(str(yamkant.pk)))) == 404


@pytest.mark.parametrize(
    "caller", [NOBODY, Caller(""), Caller("x" * 32), Caller("\0"), Caller("\0" * 32), Caller("é" * 40)]
)
@pytest.mark.parametrize("name", [None, "yamkant", "nobody"])
def test_without_a_session_there_is_no_own_stream(yamkant: User, caller: Caller, name: str | None) -> None:
    assert status(authorize(caller, Wish(name))) == 401


def test_a_session_of_nobody_is_nobodys(client: Client) -> None:
    store = client.session
    store["cart"] = [1]
    store.save()
    assert status(authorize(Caller(store.session_key), Wish())) == 401


def test_an_inactive_person_is_nobody(yamkant: User) -> None:
    caller = session(yamkant)
    User.objects.update(is_active=False)
    assert status(authorize(caller, Wish())) == 401
    assert status(authorize(caller, Wish("public:news"))) == 200


def test_a_session_that_was_signed_out_or_ran_out_is_nobodys(yamkant: User) -> None:
    ended, expired = session(yamkant), session(yamkant)
    Session.objects.filter(pk=ended.session_key).delete()
    Session.objects.filter(pk=expired.session_key).update(expire_date="2001-01-01T00:00:00Z")
    assert [status(authorize(caller, Wish())) for caller in (ended, expired)] == [401, 401]


def test_a_session_from_before_the_password_was_changed_is_nobodys(yamkant: User) -> None:
    caller = session(yamkant)
    yamkant.set_password("two")
    yamkant.save()
    assert status(authorize(caller, Wish())) == 401


def test_a_new_account_with_an_old_name_has_another_channel(yamkant: User) -> None:
    before = channels(authorize(session(yamkant), Wish()))
    yamkant.delete()
    assert channels(authorize(session(User.objects.create_user("yamkant")), Wish())) != before


# Channels


def test_anyone_reads_what_is_public(yamkant: User) -> None:
    for caller in [NOBODY, Caller("no such session"), session(yamkant)]:
        assert channels(authorize(caller, Wish("public:news"))) == ("public:news",)


@override_settings(TASKBELL={"AUTHENTICATE": "tests.gateway.rules.by_token"})
def test_nobody_asks_who_reads_what_is_public() -> None:
    asking = Caller(request=HttpRequest())
    for wish in [Wish("public:news"), Wish(channels=("public:news", "public:weather"))]:
        found = authorize(asking, wish)
        assert isinstance(found, Grant)
        assert (found.person, found.caller) == (None, Caller()), "it is nobody's, and keeps nothing of the request"


@pytest.mark.parametrize(
    "wish", [Wish(), Wish("yamkant"), Wish("team:all"), Wish("public:"), Wish(channels=("public:news", "team:all"))]
)
def test_everything_else_is_asked_about(wish: Wish) -> None:
    assert open_to_anybody(wish) is None


@pytest.mark.parametrize("channel", ["project:5", "publicity:news", "public.x:news", "team:all"])
def test_everything_else_is_denied_by_default(yamkant: User, channel: str) -> None:
    assert status(authorize(session(yamkant), Wish(channel))) == 404
    assert status(authorize(NOBODY, Wish(channel))) == 404


@RULES
def test_the_project_decides_about_its_channels(yamkant: User, minji: User) -> None:
    assert channels(authorize(session(yamkant), Wish("project:yamkant"))) == ("project:yamkant",)
    assert status(authorize(session(minji), Wish("project:yamkant"))) == 404
    assert status(authorize(session(minji), Wish("team:all"))) == 200
    assert status(authorize(NOBODY, Wish("team:all"))) == 404
    assert channels(authorize(session(minji), Wish(channels=("team:all", "public:news")))) == (
        "team:all",
        "public:news",
    )


@RULES
@pytest.mark.parametrize("bad", ["project:minji", "user:x", "taskbell:control", "no channel", "", "public:"])
def test_one_bad_channel_fails_the_whole_request(yamkant: User, bad: str) -> None:
    for wish in [("project:yamkant", bad), (bad, "project:yamkant"), ("public:news", bad)]:
        assert status(authorize(session(yamkant), Wish(channels=wish))) == 404


@override_settings(TASKBELL={"AUTHORIZE": lambda user, channel: True})
def test_no_project_can_open_what_is_ours(yamkant: User, minji: User) -> None:
    mine, theirs = f"user:{recipient_of(yamkant)}", f"user:{recipient_of(minji)}"
    for channel in [mine, theirs, "user:minji", "user:*", "taskbell:control", "taskbell:x"]:
        assert status(authorize(session(yamkant), Wish(channel))) == 404
        assert status(authorize(session(yamkant), Wish(channels=("a:1", channel)))) == 404


BAD_CHANNELS = [
    "",
    ":",
    "a:",
    ":a",
    "a:b:c",
    "public:news\n",
    "public:news\r\n",
    "public:\0",
    "public:\x7f",
    "public:\x85",
    "public:\u2028",
    " public:news",
    "public:news ",
    "\ufeffpublic:news",
    "public:\u202enews",
    "public:\u200bnews",
    "public:caf\u00e9",
    "public:cafe\u0301",
    "publ\u0456c:news",
    "PUBLIC:news",
    "public:*",
    "public:?",
    "public:%",
    "public:../user:1",
    "public:a/b",
    "public:%6eews",
    "public:" + "x" * 122,
    "public:" + "x" * 1_000_000,
]


@override_settings(TASKBELL={"AUTHORIZE": lambda user, channel: True})
@pytest.mark.parametrize("channel", BAD_CHANNELS, ids=lambda text: ascii(text[:24]))
def test_what_is_no_channel_is_not_found(yamkant: User, channel: str) -> None:
    assert not may_read(yamkant, channel)
    assert status(authorize(session(yamkant), Wish(channels=(channel, "a:1")))) == 404


def test_the_longest_channel_is_one() -> None:
    assert may_read(None, "public:" + "x" * 121)


@override_settings(TASKBELL={"AUTHORIZE": "tests.gateway.rules.broken"})
def test_a_rule_that_raises_denies(yamkant: User, caplog: pytest.LogCaptureFixture) -> None:
    assert status(authorize(session(yamkant), Wish("team:all"))) == 404
    assert "raised; access is refused" in caplog.text


# AUTHENTICATE


@override_settings(
    TASKBELL={"AUTHENTICATE": "tests.gateway.rules.by_token", "AUTHORIZE": "tests.gateway.rules.own_projects"}
)
def test_the_project_may_authenticate_by_itself(yamkant: User) -> None:
    request = HttpRequest()
    request.META["HTTP_AUTHORIZATION"] = f"Bearer {yamkant.pk}"
    assert channels(authorize(Caller(request=request), Wish())) == (f"user:{recipient_of(yamkant)}",)
    assert status(authorize(Caller(request=request), Wish("project:yamkant"))) == 200
    assert status(authorize(Caller(request=HttpRequest()), Wish())) == 401
    yamkant.is_active = False
    yamkant.save()
    assert status(authorize(Caller(request=request), Wish())) == 401


# Asked again


def again(*grants: Grant | Refusal) -> list[bool]:
    return still_granted(grant for grant in grants if isinstance(grant, Grant))


@RULES
def test_what_still_holds_is_granted_again(yamkant: User, minji: User) -> None:
    grants = [
        authorize(session(yamkant), Wish()),
        authorize(session(minji), Wish("minji")),
        authorize(session(minji), Wish(channels=("project:minji", "public:news"))),
        authorize(NOBODY, Wish("public:news")),
    ]
    assert again(*grants) == [True] * 4
    minji.is_active = False
    minji.save()
    assert again(*grants) == [True, False, False, True]
    Session.objects.all().delete()
    assert again(*grants) == [False, False, False, True]


@RULES
def test_losing_one_of_several_channels_is_losing_them_all(yamkant: User) -> None:
    grant = authorize(session(yamkant), Wish(channels=("project:yamkant", "team:all")))
    User.objects.update(username="renamed")
    assert again(grant) == [False]


def test_the_own_stream_outlives_a_new_user_name(yamkant: User) -> None:
    grant = authorize(session(yamkant), Wish())
    User.objects.update(username="renamed")
    assert again(grant) == [True]


def test_a_session_that_another_person_took_over_is_not_the_same(yamkant: User, minji: User) -> None:
    caller = session(yamkant)
    grant = authorize(caller, Wish())
    theirs = Session.objects.get(pk=session(minji).session_key).session_data
    Session.objects.filter(pk=caller.session_key).update(session_data=theirs)
    assert status(authorize(caller, Wish())) == 200
    assert again(grant) == [False]


def test_a_database_that_is_away_cuts_nobody(yamkant: User, monkeypatch: pytest.MonkeyPatch) -> None:
    grant = authorize(session(yamkant), Wish())

    def away(*_: Any) -> Iterable[Any]:
        raise OperationalError("the server closed the connection")

    monkeypatch.setattr("taskbell.gateway.sessions.get_user", away)
    # Nobody has said no: the error goes to the pool, which opens its connections anew, and streams stay.
    with pytest.raises(OperationalError):
        again(grant)
