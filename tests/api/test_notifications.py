"""Inboxes as JSON, by Django's test client."""

import json
import uuid
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from taskbell import notify
from taskbell.api.notifications import BODY_BYTES
from taskbell.ground.cursor import Cursor
from taskbell.inbox.read import MOST_NOTIFICATIONS
from taskbell.inbox.rows import MOST_IDS
from taskbell.models import Outbox
from taskbell.store.log import Page, place_of_head, read_after
from taskbell.testing import deliver
from tests.inbox.telling import heard, row

pytestmark = [pytest.mark.contract, pytest.mark.django_db, pytest.mark.urls(__name__)]

urlpatterns = [path("taskbell/", include("taskbell.urls.api"))]

LIST, SEEN, READ = (f"/taskbell/notifications/{end}" for end in ("", "seen/", "read/"))
UNKNOWN = str(uuid.UUID(int=7))


def post(page: Client, url: str, body: Any, **options: Any) -> Any:
    return page.post(url, body, content_type="application/json", **options)


class TestList:
    def test_has_the_fields_of_the_event_and_what_was_done_with_it(self, page: Client, ada: Any) -> None:
        notify(ada, "Ready", body="Seven pages", url="/reports/7/", level="success", kind="report")
        [(_, event)] = heard()
        answer = page.get(LIST).json()
        assert answer == {
            "notifications": [event | {"seen": False, "read": False}],
            "unread": 1,
            "cursor": str(place_of_head("default")),
        }
        post(page, READ, {"ids": [event["id"]]})
        deliver()
        assert page.get(LIST).json()["notifications"] == [event | {"seen": True, "read": True}]

    def test_carries_the_cursor_from_which_a_stream_continues_it(self, page: Client, ada: Any) -> None:
        notify(ada, "first")
        deliver()
        place = Cursor.parse(page.get(LIST).json()["cursor"])
        notify(ada, "second")
        deliver()
        following = read_after(place, "default")
        assert isinstance(following, Page)
        assert [json.loads(row.payload)["title"] for row in following.rows] == ["second"]

    def test_is_never_behind_notify(self, page: Client, ada: Any) -> None:
        with transaction.atomic():
            notify(ada, "Ready", key="k")
            before = page.get(LIST).json()
        deliver()
        after = page.get(LIST).json()
        for answer in (before, after):
            # Until it is numbered its time is by the clock of whoever said it.
            del answer["cursor"], answer["notifications"][0]["at"]
        assert before == after

    def test_goes_page_by_page(self, page: Client, ada: Any) -> None:
        for n in range(7):
            notify(ada, f"{n}")
            if n == 4:
                deliver()
        for _ in range(2):
            told, before = [], ""
            while True:
                wish = {"limit": 2} | ({"before": before} if before else {})
                found = page.get(LIST, wish).json()
                assert found["unread"] == 7
                if not found["notifications"]:
                    break
                told += [one["title"] for one in found["notifications"]]
                before = found["notifications"][-1]["id"]
            assert told == ["6", "5", "4", "3", "2", "1", "0"]
            deliver()

    def test_before_what_is_not_theirs_there_is_nothing(self, page: Client, ada: Any, bob: Any) -> None:
        notify([ada, bob], "Ready")
        for _ in range(2):
            for id in (UNKNOWN, json.loads(Outbox.objects.get(user_key=bob.pk).payload)["id"]):
                assert page.get(LIST, {"before": id}).json()["notifications"] == []
        deliver()
        assert page.get(LIST, {"before": UNKNOWN}).json()["notifications"] == []

    def test_is_ones_own(self, page: Client, bob: Any) -> None:
        notify(bob, "Bob's")
        for _ in range(2):
            assert page.get(LIST).json() == {
                "notifications": [], "unread": 0, "cursor": str(place_of_head("default") or ""),
            }  # fmt: skip
            deliver()

    def test_costs_the_same_for_one_and_for_many(self, page: Client, ada: Any) -> None:
        costs = []
        for count in (1, 30):
            for n in range(count):
                notify(ada, f"{n}")
            deliver()
            with CaptureQueriesContext(connection) as captured:
                page.get(LIST, {"limit": 30})
            costs.append(len(captured))
        assert costs[0] == costs[1]

    @pytest.mark.parametrize("limit", ["1", "3", str(MOST_NOTIFICATIONS)])
    def test_is_as_long_as_asked(self, page: Client, ada: Any, limit: str) -> None:
        for n in range(4):
            notify(ada, f"{n}")
        assert len(page.get(LIST, {"limit": limit}).json()["notifications"]) == min(4, int(limit))

    @pytest.mark.parametrize(
        "limit", ["0", "-1", "101", "x", "", "1e9", "+5", " 5", "1_0", "٥", "٣" * 5_000, "5\0", "9" * 10_000]
    )
    def test_a_limit_out_of_bounds_is_refused(self, page: Client, limit: str) -> None:
        answer = page.get(LIST, {"limit": limit})
        assert answer.status_code == 400
        assert "limit" in answer.json()["error"]

    @pytest.mark.parametrize(
        "before",
        ["", "x", "7", "\0", UNKNOWN[:-1], UNKNOWN + "0", UNKNOWN.replace("-", ""), f"{{{UNKNOWN}}}", "é" * 36],
    )
    def test_a_before_that_is_no_id_is_refused(self, page: Client, before: str) -> None:
        answer = page.get(LIST, {"before": before})
        assert answer.status_code == 400
        assert "before" in answer.json()["error"]


class TestMark:
    def test_is_one_insert_in_the_requests_transaction(self, page: Client, ada: Any) -> None:
        notify(ada, "Ready")
        deliver()
        with CaptureQueriesContext(connection) as captured:
            answer = post(page, SEEN, {"ids": [str(row("Ready").id)]})
        assert (answer.status_code, answer.json()) == (202, {"unread": 1})
        assert [query["sql"].split()[0] for query in captured if "select" not in query["sql"].lower()] == ["INSERT"]
        with transaction.atomic():
            assert post(page, READ, {"all": True}).json() == {"unread": 0}
            transaction.set_rollback(True)
        assert [data["read"] for _, data in heard()] == [False]

    def test_counts_as_it_will_be(self, page: Client, ada: Any) -> None:
        for n in range(4):
            notify(ada, f"{n}")
            if n == 1:
                deliver()
        ids = [one["id"] for one in page.get(LIST).json()["notifications"]]
        assert post(page, READ, {"ids": ids[:1]}).json() == {"unread": 3}
        assert post(page, READ, {"ids": [*ids[:2], *ids[:2]]}).json() == {"unread": 2}
        assert post(page, SEEN, {"all": True}).json() == {"unread": 2}
        listed = page.get(LIST).json()
        assert listed["unread"] == 2
        assert [(one["seen"], one["read"]) for one in listed["notifications"]] == [(True, n < 2) for n in range(4)]
        assert post(page, READ, {"all": True}).json() == {"unread": 0}
        assert [data["unread"] for type, data in heard() if type == "seen"] == [3, 2, 2, 0]

    def test_twice_is_told_once(self, page: Client, ada: Any) -> None:
        notify(ada, "Ready")
        deliver()
        for body in ({"ids": [str(row("Ready").id)]}, {"all": True}):
            assert [post(page, READ, body).json() for _ in range(2)] == [{"unread": 0}] * 2
        assert len(heard()) == 1

    def test_others_and_unknown_ids_change_nothing(self, page: Client, ada: Any, bob: Any) -> None:
        notify([ada, bob], "Ready")
        bobs = json.loads(Outbox.objects.get(user_key=bob.pk).payload)["id"]
        for _ in range(2):
            assert post(page, READ, {"ids": [bobs, UNKNOWN]}).json() == {"unread": 1}
            assert [type for type, _ in heard()] in ([], ["notification"] * 2)
        assert post(page, READ, {"ids": []}).json() == {"unread": 1}
        assert not Outbox.objects.exists()

    def test_as_many_as_a_page_shows(self, page: Client, ada: Any) -> None:
        for n in range(MOST_IDS):
            notify(ada, f"{n}")
        ids = [one["id"] for one in page.get(LIST, {"limit": MOST_IDS}).json()["notifications"]]
        body = json.dumps({"ids": ids})
        assert len(body) < BODY_BYTES
        assert post(page, READ, body).json() == {"unread": 0}

    @pytest.mark.parametrize("url", [SEEN, READ])
    @pytest.mark.parametrize(
        "body",
        [
            b"", b"x", b"{", b"null", b"5", b'"all"', b"[]", b"{}", b"\xff\xfe", b"\xef\xbb\xbf{}", b"NaN",
            b'{"all": false}', b'{"all": 1}', b'{"all": "true"}', b'{"all": null}', b'{"all": [true]}',
            b'{"ALL": true}',
            b'{"all": true, "ids": []}', b'{"ids": null}', b'{"ids": "x"}', b'{"ids": {}}', b'{"ids": 5}',
            b'{"ids": [5]}', b'{"ids": [null]}', b'{"ids": [["x"]]}', b'{"ids": ["x"]}', b'{"ids": [""]}',
            b'{"ids": ["\\u0000"]}', b'{"ids": ["\\ud800"]}', b'{"ids": ["%s\\u0000"]}' % UNKNOWN.encode(),
            b'{"ids": ["%s"], "other": 1}' % UNKNOWN.encode(), b'{"ids": ["{%s}"]}' % UNKNOWN.encode(),
            b'{"ids": ["%s"]}' % UNKNOWN.replace("-", "").encode(), b'{"id": "%s"}' % UNKNOWN.encode(),
            b'{"ids": [%s]}' % b",".join([b'"%s"' % UNKNOWN.encode()] * (MOST_IDS + 1)),
            b'{"ids": [%s]}' % b",".join([b'"%s"' % UNKNOWN.encode()] * 10_000),
            b"[" * 10_000, b'{"ids": ' * 2_000, b" " * (BODY_BYTES + 1), b"ids=x", b"\0",
        ],
        ids=lambda body: repr(body[:40]),
    )  # fmt: skip
    def test_what_is_no_mark_is_refused_and_changes_nothing(
        self, page: Client, ada: Any, url: str, body: bytes
    ) -> None:
        notify(ada, "Ready")
        deliver()
        answer = post(page, url, body)
        assert answer.status_code == 400
        assert "ids" in answer.json()["error"]
        assert not Outbox.objects.exists()

    def test_a_form_is_no_json(self, page: Client) -> None:
        for body in ({"all": "true"}, {}):
            assert page.post(READ, body).status_code == 400

    def test_a_body_over_djangos_own_limit_is_refused_too(self, page: Client) -> None:
        with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10):
            assert post(page, READ, {"all": True}).status_code == 400

    @pytest.mark.parametrize("length", ["x", "-1", "9" * 100])
    def test_a_length_that_is_none_is_refused(self, page: Client, length: str) -> None:
        answer = page.generic("POST", READ, b"", content_type="application/json", CONTENT_LENGTH=length)
        assert answer.status_code == 400

    def test_wants_the_pages_token_also_in_a_project_without_the_middleware(self, ada: Any, settings: Any) -> None:
        notify(ada, "Ready")
        client = Client(enforce_csrf_checks=True)
        client.force_login(ada)
        assert "django.middleware.csrf.CsrfViewMiddleware" not in settings.MIDDLEWARE
        for url in (SEEN, READ):
            assert post(client, url, {"all": True}).status_code == 403
        client.cookies[settings.CSRF_COOKIE_NAME] = token = "a" * 32
        assert post(client, READ, {"all": True}, headers={"X-CSRFToken": token}).status_code == 202


@pytest.mark.parametrize(("method", "url"), [("GET", LIST), ("POST", SEEN), ("POST", READ)])
def test_nobody_is_told_to_sign_in(page: Client, ada: Any, method: str, url: str) -> None:
    assert Client().generic(method, url, b"{").status_code == 401
    ada.is_active = False
    ada.save()
    assert page.generic(method, url, b"{").status_code == 401


@pytest.mark.parametrize(("url", "methods"), [(LIST, {"GET", "HEAD"}), (SEEN, {"POST"}), (READ, {"POST"})])
def test_other_methods_are_refused(page: Client, url: str, methods: set[str]) -> None:
    others = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - methods
    assert {page.generic(method, url).status_code for method in others} == {405}


def test_nothing_is_cached(page: Client) -> None:
    for answer in (page.get(LIST), post(page, READ, {"all": True})):
        assert "no-store" in answer.headers["Cache-Control"]
        assert answer.headers["Content-Type"] == "application/json"


def test_the_hook_says_who_asks(ada: Any, settings: Any) -> None:
    def by_token(request: HttpRequest) -> Any:
        return ada if request.headers.get("Authorization") == "Token ada" else None

    settings.TASKBELL = {"AUTHENTICATE": by_token}
    token = {"Authorization": "Token ada"}
    assert Client().get(LIST).status_code == 401
    assert Client().get(LIST, headers=token).status_code == 200
    assert post(Client(), READ, {"all": True}, headers=token).status_code == 202
