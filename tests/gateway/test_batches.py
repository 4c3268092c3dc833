"""Many streams are asked about at once, with the answers that each of them alone would get."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from taskbell.gateway.access import Caller, Grant, Wish, authorize, still_granted
from taskbell.gateway.recheck import GRANTS_A_BATCH
from taskbell.gateway.sessions import stored_sessions
from tests.gateway.cases import (
    ALL_INACTIVE_TOO,
    GROUP,
    MODEL_BACKEND,
    NAMED,
    OF_ACCOUNTS,
    OF_ROWS,
    SUSPENDING,
    Case,
    Visit,
    block,
    deactivate,
    delete_session,
    nothing,
    visit_of,
)

pytestmark = [pytest.mark.django_db, pytest.mark.contract]

BLOCKING = "tests.gateway.odd_sessions"
ROWS = ["django.contrib.sessions.backends.db", "django.contrib.sessions.backends.cached_db", BLOCKING]
ENGINES = [*ROWS, *(f"django.contrib.sessions.backends.{engine}" for engine in ("cache", "file", "signed_cookies"))]


@pytest.fixture(autouse=True)
def places(tmp_path: Path) -> Iterator[None]:
    with override_settings(
        SESSION_FILE_PATH=str(tmp_path),
        TASKBELL={"AUTHORIZE": "tests.gateway.rules.by_group"},
        AUTHENTICATION_BACKENDS=[MODEL_BACKEND, ALL_INACTIVE_TOO, SUSPENDING],
    ):
        yield
    cache.clear()


def each_alone(grants: Sequence[Grant]) -> list[bool]:
    return [authorize(grant.caller, grant.wish) == grant for grant in grants]


def verdicts(grants: Sequence[Grant]) -> list[bool]:
    """Return what is decided about them: the same forward and backward, all twice, alone, and as at a handshake."""
    found = still_granted(grants)
    assert each_alone(grants) == found
    assert still_granted([*grants, *grants]) == [*found, *found]
    assert still_granted(reversed(grants)) == found[::-1]
    assert [still_granted([grant]) for grant in grants] == [[one] for one in found]
    return found


def engine_of(engine: str) -> AbstractContextManager[Any]:
    return override_settings(SESSION_ENGINE=engine)


def check(cases: Sequence[Case]) -> list[Visit]:
    """Let all of it happen, and see who reads on."""
    visits = [case.visit(number) for number, case in enumerate(cases)]
    assert verdicts([visit.grant for visit in visits]) == [True] * len(visits)
    for case, visit in zip(cases, visits, strict=True):
        case.happens(visit)
    found = verdicts([visit.grant for visit in visits])
    wrong = [case for case, granted in zip(cases, found, strict=True) if granted is not case.stays]
    assert wrong == []
    return visits


@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_happens_to_an_account(engine: str) -> None:
    with engine_of(engine):
        check(OF_ACCOUNTS)


@pytest.mark.parametrize("engine", ROWS)
def test_whatever_happens_to_a_session(engine: str) -> None:
    with engine_of(engine):
        check([*OF_ROWS, Case(block, engine != BLOCKING), *OF_ACCOUNTS])


@pytest.mark.parametrize("engine", ENGINES)
def test_whatever_happens_to_the_secret_key(engine: str) -> None:
    """`get_user` tries the old ones, in their order, and here nobody is signed out by that."""
    with engine_of(engine):
        visits = check([Case(nothing, True, wish) for wish in (None, NAMED, GROUP, None)])
        visits[-1].user.set_password("two")
        visits[-1].user.save()
        grants = [visit.grant for visit in visits]
        for fallbacks, stay in [([], False), (["older", settings.SECRET_KEY], True), (["older"], False)]:
            with override_settings(SECRET_KEY="the next one, good for nothing", SECRET_KEY_FALLBACKS=fallbacks):
                assert verdicts(grants) == [stay, stay, stay, False]
        assert verdicts(grants) == [True, True, True, False]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_backend_that_the_project_gave_up(engine: str) -> None:
    with engine_of(engine):
        visits = check([Case(nothing, True, backend=backend) for backend in (MODEL_BACKEND, SUSPENDING)])
        with override_settings(AUTHENTICATION_BACKENDS=[MODEL_BACKEND]):
            assert verdicts([visit.grant for visit in visits]) == [True, False]


def test_another_engine_than_when_the_stream_was_opened() -> None:
    grants = [visit.grant for visit in check([Case(nothing, True), Case(nothing, True, GROUP)])]
    for engine in ENGINES:
        with engine_of(engine):
            assert verdicts(grants) == [engine in ROWS] * 2


def by_token_of(user: User) -> Caller:
    request = HttpRequest()
    request.META["HTTP_AUTHORIZATION"] = f"Bearer {user.pk}"
    return Caller(request=request)


@override_settings(
    TASKBELL={"AUTHENTICATE": "tests.gateway.rules.by_token", "AUTHORIZE": "tests.gateway.rules.by_group"}
)
def test_whom_the_project_authenticates() -> None:
    people = [User.objects.create_user(name) for name in ("stays", "leaves", "inactive")]
    for person in people:
        person.groups.add(Group.objects.get_or_create(name="editors")[0])
    grants = [authorize(by_token_of(person), wish) for person in people for wish in (Wish(), GROUP)]
    assert all(isinstance(grant, Grant) for grant in grants)
    people[1].delete()
    User.objects.filter(username="inactive").update(is_active=False)
    asked = [grant for grant in grants if isinstance(grant, Grant)]
    assert verdicts(asked) == [True, True, False, False, False, False]


# Sessions read together


def test_only_keys_that_django_would_look_for_are_read_together() -> None:
    there = visit_of("ada")
    data = there.rows.get().session_data
    later = timezone.now() + timedelta(days=1)
    Session.objects.create(session_key="short", session_data=data, expire_date=later)
    asked = [there.key, there.key.upper(), "short", "", "nul\0" * 8, "x" * 32, "é" * 40]
    assert list(stored_sessions(asked)) == [there.key]
    assert not any(isinstance(authorize(Caller(key), Wish()), Grant) for key in asked[1:])
    assert stored_sessions([]) == {}


@pytest.mark.parametrize("engine", ENGINES[1:])
def test_sessions_of_other_engines_are_read_one_by_one(engine: str) -> None:
    with engine_of(engine):
        assert stored_sessions([visit_of("ada").key]) == {}


# What a batch costs


def tables(captured: CaptureQueriesContext) -> list[str]:
    """Return the table that each statement reads."""
    names = ("django_session", "auth_user", "taskbell_recipient")
    return [next(name for name in names if f"from {name} " in plain(query)) for query in captured.captured_queries]


def plain(query: dict[str, str]) -> str:
    return " ".join(query["sql"].lower().replace('"', "").split())


def test_a_batch_is_one_query_of_sessions_one_of_each_user_and_one_of_recipients() -> None:
    grants = [visit_of(f"person{number}").grant for number in range(GRANTS_A_BATCH)]
    with CaptureQueriesContext(connection) as captured:
        assert all(still_granted(grants))
    # Recipients last: whoever has a key now must not be given what another had before.
    assert tables(captured) == ["django_session", *["auth_user"] * GRANTS_A_BATCH, "taskbell_recipient"]


def test_streams_of_one_session_are_one_question() -> None:
    grants = [visit_of(f"person{number}").grant for number in range(5)] * 10
    named = [authorize(grant.caller, Wish(f"person{number}")) for number, grant in enumerate(grants[:5])]
    with CaptureQueriesContext(connection) as captured:
        assert all(still_granted([*grants, *(grant for grant in named if isinstance(grant, Grant))]))
    assert tables(captured) == ["django_session", *["auth_user"] * 5, "taskbell_recipient"]


def test_a_rule_is_asked_once_for_streams_that_are_alike() -> None:
    asked = []

    def rule(user: User, channel: str) -> bool:
        asked.append((user.username, channel))
        return True

    with override_settings(TASKBELL={"AUTHORIZE": rule}):
        grants = [visit_of(name, GROUP).grant for name in ("ada", "bob")]
        asked.clear()
        assert still_granted(grants * 10) == [True] * 20
    assert asked == [("ada", "group:editors"), ("bob", "group:editors")]


def test_public_channels_cost_nothing() -> None:
    grants = [visit_of("ada", Wish("public:news")).grant] * GRANTS_A_BATCH
    with CaptureQueriesContext(connection) as captured:
        assert all(still_granted(grants))
    assert tables(captured) == []


def test_a_handshake_is_three_queries() -> None:
    there = visit_of("ada")
    with CaptureQueriesContext(connection) as captured:
        assert authorize(there.grant.caller, Wish()) == there.grant
    assert tables(captured) == ["django_session", "auth_user", "taskbell_recipient"]


def test_whoever_is_gone_costs_the_others_nothing() -> None:
    visits = [visit_of(f"person{number}") for number in range(GRANTS_A_BATCH)]
    delete_session(visits[0])
    deactivate(visits[1])
    with CaptureQueriesContext(connection) as captured:
        assert still_granted([visit.grant for visit in visits]) == [False, False, *[True] * (GRANTS_A_BATCH - 2)]
    assert tables(captured).count("django_session") == 2
    assert tables(captured).count("auth_user") == GRANTS_A_BATCH - 1
    assert tables(captured).count("taskbell_recipient") == 1
