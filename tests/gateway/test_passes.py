"""A pass opens one person's own stream by one session, for a while, and nothing else."""

import time
from collections.abc import Callable
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils.crypto import salted_hmac

from taskbell.gateway.access import Caller, Grant, Wish
from taskbell.gateway.control import MOST_HELD, Newest
from taskbell.gateway.hub import Hub
from taskbell.gateway.passes import CLOCKS_APART, Admitted, Pass, Passes, lifetime
from taskbell.gateway.request import PASS_COOKIE, StreamRequest
from taskbell.gateway.window import Window
from taskbell.ground.cursor import Cursor
from taskbell.store.control import session_name

KEY = "k" * 32
SESSION = session_name(KEY)
CHANNEL = "user:0b6c5b5e-4f0e-4f39-8d55-2f4f5b1c3a10"
HEAD = Cursor("log", 50, "n")
OWN = Grant((CHANNEL,), "7", Wish(), Caller(KEY))


def asking(text: str | None = None, *, key: str | None = KEY, wish: Wish | None = None) -> StreamRequest:
    return StreamRequest(
        wish=wish or Wish(), caller=Caller(key), pass_text=text, cursor=None, unknown_cursor=False, origin=None
    )


class Gate:
    """What a gateway has for passes, with no stream and no database."""

    def __init__(self) -> None:
        self.newest = Newest()
        self.hub = Hub(Window(1), lambda stream: None, lambda stream: None)
        self.hub.position = HEAD
        self.passes = Passes(self.hub, self.newest)

    def cookie(self, wish: Wish | None = None) -> SimpleCookie:
        """Let somebody in by their session and return the cookie that this sets."""
        asked = asking(wish=wish)
        admitted = self.passes.after_session(asked, replace(OWN, wish=asked.wish), HEAD, "/events/")
        assert admitted.cookie is not None
        return SimpleCookie(admitted.cookie.decode("ascii"))

    def given(self, wish: Wish | None = None) -> str:
        return self.cookie(wish)[PASS_COOKIE].value

    def opens(self, text: str | None, **asked: Any) -> bool:
        return self.passes.admit(asking(text, **asked)) is not None


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_it_opens_the_own_stream_as_the_session_did(gate: Gate) -> None:
    assert gate.passes.admit(asking(gate.given())) == Admitted(OWN, HEAD.seq, SESSION)


def test_it_opens_the_stream_by_the_alias_that_it_was_given_for_and_no_other(gate: Gate) -> None:
    alias = Wish("yamkant/é~ 한")
    given = gate.given(alias)
    assert gate.opens(given, wish=alias)
    assert not gate.opens(given)
    assert not gate.opens(given, wish=Wish("minji"))
    assert not gate.opens(gate.given(), wish=alias)


@pytest.mark.parametrize("wish", [Wish("public:news"), Wish("project:7"), Wish(channels=("project:7",)), Wish(CHANNEL)])
def test_it_opens_nothing_but_the_own_stream_and_is_given_for_nothing_else(gate: Gate, wish: Wish) -> None:
    assert not gate.opens(gate.given(), wish=wish)
    named = Grant(("project:7",), "7", wish, Caller(KEY))
    assert gate.passes.after_session(asking(wish=wish), named, HEAD, "/events/").cookie is None


def test_nobody_in_particular_gets_none(gate: Gate) -> None:
    by_request = StreamRequest(
        wish=Wish(), caller=Caller(), pass_text=None, cursor=None, unknown_cursor=False, origin=None
    )
    assert gate.passes.after_session(by_request, OWN, HEAD, "/events/").cookie is None


@pytest.mark.parametrize("key", ["x" * 32, "", KEY + "x", KEY.upper(), None])
def test_it_is_worth_nothing_with_another_session(gate: Gate, key: str | None) -> None:
    assert not gate.opens(gate.given(), key=key)


def test_every_bit_of_it_counts(gate: Gate) -> None:
    given = gate.given()
    for place in range(len(given)):
        for changed in {"A", "b", "0", "/", ":", "%"} - {given[place]}:
            assert not gate.opens(given[:place] + changed + given[place + 1 :])
    assert all(not gate.opens(given[:length]) for length in range(len(given)))


@pytest.mark.parametrize(
    "text", ["", ":", "/", "1/2/3", "é", "\udcff", "x" * 8_000, "1/log/50/0/s/user:x/7/", "1/log/50/0/s/user:x/7/:sig"]
)
def test_what_we_did_not_sign_is_none(gate: Gate, text: str) -> None:
    assert not gate.opens(text)


def signed(body: str, salt: str = "taskbell.gateway.passes") -> str:
    return f"{body}/{salted_hmac(salt, body, algorithm='sha256').hexdigest()}"


def test_another_signature_of_ours_is_none(gate: Gate) -> None:
    body = gate.given().rpartition("/")[0]
    assert gate.opens(signed(body))
    for salt in ["", "sessions", "taskbell", "taskbell.gateway"]:
        assert not gate.opens(signed(body, salt))


def test_one_of_another_version_is_read_as_none(gate: Gate) -> None:
    body = gate.given().rpartition("/")[0]
    assert not gate.opens(signed(f"2{body[1:]}/and/more"))


def given_at(gate: Gate, seconds: float) -> str:
    shown = Pass.read(gate.given())
    assert shown is not None
    return str(replace(shown, given_at=int(time.time() + seconds)))


@override_settings(TASKBELL={"STREAM_AGE": 100})
def test_it_runs_out_by_the_clock(gate: Gate) -> None:
    assert lifetime() == 420
    assert gate.opens(given_at(gate, 5 - lifetime()))
    assert not gate.opens(given_at(gate, -5 - lifetime()))
    assert gate.opens(given_at(gate, CLOCKS_APART - 5)), "another gateway's clock is a little ahead"
    assert not gate.opens(given_at(gate, CLOCKS_APART + 5)), "a clock was put back"


def test_a_new_secret_key_takes_it_back_unless_the_old_one_is_a_fallback(gate: Gate) -> None:
    given, old = gate.given(), settings.SECRET_KEY
    with override_settings(SECRET_KEY="the next one, as good for nothing", SECRET_KEY_FALLBACKS=[]):
        assert not gate.opens(given)
        assert gate.opens(gate.given())
    with override_settings(SECRET_KEY="the next one, as good for nothing", SECRET_KEY_FALLBACKS=[old]):
        assert gate.opens(given)


def test_it_is_of_one_log_and_not_of_its_future(gate: Gate) -> None:
    given = gate.given()
    gate.hub.position = Cursor("another", 50, "n")
    assert not gate.opens(given)
    gate.hub.position = Cursor("log", 49, "n")
    assert not gate.opens(given), "restored from before: what was told since is gone"
    gate.hub.position = None
    assert not gate.opens(given)


@pytest.mark.parametrize(
    "told",
    [
        lambda newest: newest.note_person("7", 51),
        lambda newest: newest.note_session(SESSION, 51),
        lambda newest: newest.begin(51),
    ],
)
def test_what_was_told_since_takes_it_back(gate: Gate, told: Callable[[Newest], None]) -> None:
    given = gate.given()
    gate.newest.note_person("7", 50)
    gate.newest.note_session(SESSION, 50)
    gate.newest.note_person("8", 51)
    gate.newest.note_session(session_name("another"), 51)
    assert gate.opens(given)
    told(gate.newest)
    assert not gate.opens(given)


def test_a_gateway_that_was_told_too_much_knows_from_where_on_it_remembers() -> None:
    newest = Newest()
    for number in range(MOST_HELD + 10):
        newest.note_person(str(number), number + 1)
    assert newest.since == 10
    assert newest.of("0", "") == 10
    assert newest.of("10", "") == 11


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({}, {"samesite": "Lax", "secure": ""}),
        ({"SESSION_COOKIE_SECURE": True}, {"samesite": "Lax", "secure": True}),
        (
            {"SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True},
            {"samesite": "None", "secure": True},
        ),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, {"samesite": "Strict", "secure": ""}),
        ({"SESSION_COOKIE_SAMESITE": False}, {"samesite": "Lax", "secure": ""}),
    ],
)
def test_the_cookie_is_as_careful_as_the_sessions_own(
    gate: Gate, written: dict[str, Any], expected: dict[str, Any]
) -> None:
    with override_settings(**written):
        cookie = gate.cookie()[PASS_COOKIE]
    assert cookie["httponly"] is True
    assert cookie["path"] == "/events/"
    assert cookie["max-age"] == str(lifetime())
    assert {name: cookie[name] for name in ("samesite", "secure")} == expected
    assert KEY not in cookie.value
