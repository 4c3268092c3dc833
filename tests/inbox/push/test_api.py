"""Subscribing: what a browser says is checked, and nobody gets at another person's."""

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import include, path

from taskbell.api.push import BODY_BYTES
from taskbell.inbox.push.subscriptions import MOST_A_PERSON
from taskbell.models import PushSubscription, Recipient
from tests.inbox.push.test_endpoint import BAD
from tests.servers.push import Subscriber, padded, unpadded

pytestmark = [pytest.mark.contract, pytest.mark.django_db, pytest.mark.urls(__name__), pytest.mark.usefixtures("push")]

urlpatterns = [path("taskbell/", include("taskbell.urls.api"))]

URL = "/taskbell/push/subscriptions/"
RENEW = "/taskbell/push/subscriptions/renew/"
User = get_user_model()


def signed_in(name: str) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(User.objects.get_or_create(username=name)[0])
    return client


@pytest.fixture
def page() -> Client:
    return signed_in("ada")


def browser(number: int = 1, host: str = "fcm.googleapis.com") -> Subscriber:
    return Subscriber(f"https://{host}/fcm/send/{number}")


def post(page: Client, values: Any, **headers: Any) -> Any:
    return page.post(URL, json.dumps(values), content_type="application/json", headers=headers)


def delete(page: Client, endpoint: Any) -> Any:
    return page.delete(URL, json.dumps({"endpoint": endpoint}), content_type="application/json")


def kept() -> list[tuple[str, str]]:
    """Whose there are, and where."""
    names = {row.id: User.objects.get(pk=row.user_key).get_username() for row in Recipient.objects.all()}
    return sorted((names[row.recipient], row.endpoint) for row in PushSubscription.objects.all())


def test_a_subscription_is_kept_and_dropped(page: Client) -> None:
    one = browser()
    answer = post(page, one.as_json())
    assert (answer.status_code, answer.json()) == (201, {})
    assert "no-store" in answer["Cache-Control"]
    [row] = PushSubscription.objects.all()
    assert (row.endpoint, row.p256dh, row.auth) == (one.endpoint, one.p256dh, one.auth)
    assert row.origin == "http://testserver"
    assert post(page, one.as_json()).status_code == 201
    assert kept() == [("ada", one.endpoint)]
    assert delete(page, one.endpoint).status_code == 204
    assert delete(page, one.endpoint).status_code == 204
    assert kept() == []


@pytest.mark.parametrize(
    ("said", "origin"),
    [
        ("https://mysite.example:8443", "https://mysite.example:8443"),
        ("null", "http://testserver"),
        ("x" * 400, "http://testserver"),
    ],
)
def test_a_click_leads_to_where_the_page_was(page: Client, said: str, origin: str) -> None:
    post(page, browser().as_json(), origin=said)
    assert PushSubscription.objects.get().origin == origin


def test_padded_keys_are_the_same_keys(page: Client) -> None:
    one = browser()
    values = one.as_json()
    values["keys"] = {name: text + "=" * (-len(text) % 4) for name, text in values["keys"].items()}
    assert post(page, values).status_code == 201
    row = PushSubscription.objects.get()
    assert (row.p256dh, row.auth) == (one.p256dh, one.auth)


@pytest.mark.parametrize("endpoint", BAD, ids=repr)
def test_bad_endpoints(page: Client, endpoint: str) -> None:
    answer = post(page, browser().as_json() | {"endpoint": endpoint})
    assert answer.status_code == 400
    assert len(endpoint) < 3 or endpoint not in answer.json()["error"]
    assert kept() == []


POINT = padded(browser().p256dh)


BAD_KEYS: list[dict[str, Any]] = [
    {"p256dh": unpadded(POINT[:-1])},
    {"p256dh": unpadded(POINT + b"x")},
    {"p256dh": unpadded(bytes([2 + POINT[-1] % 2]) + POINT[1:33])},
    {"p256dh": unpadded(b"\x02" + POINT[1:])},
    {"p256dh": unpadded(b"\x04" + b"\x01" * 64)},
    {"p256dh": unpadded(b"\x04" + b"\x00" * 64)},
    {"p256dh": unpadded(b"\x00" * 65)},
    {"p256dh": "=" + unpadded(POINT)},
    {"p256dh": unpadded(POINT) + "==="},
    {"p256dh": " " + unpadded(POINT)},
    {"p256dh": unpadded(POINT)[:-1]},
    {"p256dh": unpadded(POINT).replace("B", "+", 1)},
    {"p256dh": ""},
    {"p256dh": 5},
    {"p256dh": None},
    {"p256dh": ["x"]},
    {"p256dh": "\ud800" * 87},
    {"auth": unpadded(b"x" * 15)},
    {"auth": unpadded(b"x" * 17)},
    {"auth": unpadded(b"x" * 16)[:-1] + "Z"},  # other bits behind the last byte
    {"auth": ""},
    {"auth": {}},
]


@pytest.mark.parametrize("keys", BAD_KEYS, ids=range(len(BAD_KEYS)))  # the keys are others each time
def test_bad_keys(page: Client, keys: dict[str, Any]) -> None:
    values = browser().as_json()
    values["keys"] |= keys
    answer = post(page, values)
    assert answer.status_code == 400
    assert "p256dh" in answer.json()["error"]
    assert kept() == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b'{"endpoint": 5}', b"\xff",
        b'{"endpoint": "https://fcm.googleapis.com/x"}',
        b'{"endpoint": "https://fcm.googleapis.com/x", "keys": []}',
        b'{"endpoint": "https://fcm.googleapis.com/x", "keys": {}}',
        b"[" * 4_000, b'{"endpoint": "' + b"x" * BODY_BYTES + b'"}',
    ],
    ids=lambda body: repr(body[:40]),
)  # fmt: skip
@pytest.mark.parametrize("method", ["post", "delete"])
def test_bad_bodies(page: Client, method: str, body: bytes) -> None:
    answer = getattr(page, method)(URL, body, content_type="application/json")
    # An endpoint is all that a DELETE wants.
    assert answer.status_code == (204 if method == "delete" and b'googleapis.com/x"' in body else 400)
    assert kept() == []


def test_a_lone_surrogate_is_nobodys_endpoint(page: Client) -> None:
    assert page.delete(URL, '{"endpoint": "\\ud800"}', content_type="application/json").status_code == 204


def test_a_person_has_sixteen_at_most_and_the_oldest_goes(page: Client) -> None:
    browsers = [browser(number) for number in range(MOST_A_PERSON + 4)]
    for one in browsers[:-1]:
        assert post(page, one.as_json()).status_code == 201
    # Whoever says that it still lives is not the oldest any more.
    oldest = browsers[3]
    post(page, oldest.as_json())
    post(page, browsers[-1].as_json())
    expected = [oldest, *browsers[5:]]
    assert {endpoint for _, endpoint in kept()} == {one.endpoint for one in expected}
    assert len(expected) == MOST_A_PERSON


def test_a_browser_that_changes_hands_moves(page: Client) -> None:
    one = browser()
    post(page, one.as_json())
    assert post(signed_in("bob"), one.as_json()).status_code == 201
    assert kept() == [("bob", one.endpoint)]


def test_whoever_has_only_heard_of_an_endpoint_does_not_get_it(page: Client) -> None:
    one = browser()
    post(page, one.as_json())
    stranger = signed_in("bob")
    assert post(stranger, Subscriber(one.endpoint).as_json()).status_code == 409
    assert delete(stranger, one.endpoint).status_code == 204
    assert kept() == [("ada", one.endpoint)]
    # Of one's own, the keys may change.
    assert post(page, Subscriber(one.endpoint).as_json()).status_code == 201


class TestRenewed:
    def renew(self, page: Client, old: Any, new: Any, **headers: Any) -> Any:
        return page.post(RENEW, json.dumps({"old": old, "new": new}), content_type="application/json", headers=headers)

    def test_by_the_worker_that_knows_the_old_one_and_has_no_token(self) -> None:
        page = Client(enforce_csrf_checks=True)
        page.force_login(User.objects.create(username="ada"))
        old, new = browser(1), browser(2)
        post(signed_in("ada"), old.as_json(), origin="https://mysite.example")
        assert self.renew(page, old.endpoint, new.as_json()).status_code == 201
        assert kept() == [("ada", new.endpoint)]
        assert PushSubscription.objects.get().origin == "https://mysite.example"
        # The same again, with other keys: then nothing is deleted.
        assert self.renew(page, new.endpoint, Subscriber(new.endpoint).as_json()).status_code == 201
        assert kept() == [("ada", new.endpoint)]

    def test_not_by_anybody_else(self, page: Client) -> None:
        old, new = browser(1), browser(2)
        post(page, old.as_json())
        assert self.renew(signed_in("bob"), old.endpoint, new.as_json()).status_code == 404
        assert self.renew(page, new.endpoint, new.as_json()).status_code == 404
        assert self.renew(Client(), old.endpoint, new.as_json()).status_code == 401
        answer = self.renew(page, old.endpoint, new.as_json(), sec_fetch_site="cross-site")
        assert answer.status_code == 403
        assert kept() == [("ada", old.endpoint)]

    @pytest.mark.parametrize("new", [None, {}, {"endpoint": "https://evil.example/x", "keys": {}}])
    def test_not_to_nonsense(self, page: Client, new: Any) -> None:
        old = browser()
        post(page, old.as_json())
        assert self.renew(page, old.endpoint, new).status_code == 400
        assert self.renew(page, 5, new).status_code == 400
        assert kept() == [("ada", old.endpoint)]


def test_nobody_subscribes_without_a_session() -> None:
    assert post(Client(), browser().as_json()).status_code == 401
    assert delete(Client(), "x").status_code == 401


def test_an_inactive_account_does_not(page: Client) -> None:
    User.objects.update(is_active=False)
    assert post(page, browser().as_json()).status_code == 401


def hook(request: HttpRequest) -> Any:
    return User.objects.get(username=request.headers["x-who"])


def test_authenticate_says_who_asks(push: dict[str, Any]) -> None:
    User.objects.create(username="ada")
    with override_settings(TASKBELL={"PUSH": push, "AUTHENTICATE": hook}):
        assert post(Client(), browser().as_json(), x_who="ada").status_code == 201
    assert [name for name, _ in kept()] == ["ada"]


@pytest.mark.parametrize("method", ["post", "delete"])
def test_a_foreign_page_changes_nothing(method: str) -> None:
    page = Client(enforce_csrf_checks=True)
    page.force_login(User.objects.create(username="ada"))
    assert getattr(page, method)(URL, "{}", content_type="application/json").status_code == 403


@pytest.mark.parametrize(
    ("url", "method"), [(URL, "get"), (URL, "put"), (RENEW, "get"), ("/taskbell/push/worker.js", "post")]
)
def test_other_methods(page: Client, url: str, method: str) -> None:
    assert getattr(page, method)(url).status_code == 405


def test_a_site_without_web_push_takes_none(page: Client) -> None:
    with override_settings(TASKBELL={}):
        assert post(page, browser().as_json()).status_code == 404
        assert delete(page, "x").status_code == 204


def test_nothing_of_it_is_in_a_log(page: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    one = browser()
    post(page, one.as_json())
    post(page, one.as_json() | {"endpoint": one.endpoint + "#x"})
    post(signed_in("bob"), Subscriber(one.endpoint).as_json())
    assert not any(text in caplog.text for text in (one.endpoint, one.p256dh, one.auth))


def test_the_tick_does_not_wait_for_a_request(push: dict[str, Any]) -> None:
    """Its new recipient is committed at once: nothing of the request's transaction is held meanwhile."""
    from taskbell.api.push import renew, subscriptions

    assert subscriptions._non_atomic_requests == renew._non_atomic_requests == {"default"}  # type: ignore[attr-defined]


def test_the_worker_is_for_everybody_and_minds_its_own_folder() -> None:
    answer = Client().get("/taskbell/push/worker.js")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer["Service-Worker-Allowed"] == "/taskbell/push/"
    assert (answer["Cache-Control"], answer["X-Content-Type-Options"]) == ("no-cache", "nosniff")
    assert b"notificationclick" in answer.content
