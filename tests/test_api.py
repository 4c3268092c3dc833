"""The JSON API of runs, by Django's test client."""

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest
from django.test import Client
from django.urls import include, path

from taskbell.ground.cursor import Cursor
from taskbell.store.log import Page, place_of_head, read_after
from tests.runs.telling import Life, tell, told

pytestmark = [pytest.mark.contract, pytest.mark.django_db, pytest.mark.urls(__name__)]

urlpatterns = [path("taskbell/", include("taskbell.urls.api"))]

User = get_user_model()


@pytest.fixture
def ada() -> Any:
    return User.objects.create(username="ada")


@pytest.fixture
def page(ada: Any) -> Client:
    client = Client(raise_request_exception=True)
    client.force_login(ada)
    return client


def test_a_list_carries_the_cursor_from_which_a_stream_continues_it(page: Client, ada: Any) -> None:
    told(*(Life(ada, queued_at=float(n))("queued") for n in range(3)))
    answer = page.get("/taskbell/runs/").json()
    assert [run["queued_at"] for run in answer["runs"]] == [f"1970-01-01T00:00:0{n}.000Z" for n in (2, 1, 0)]
    place = Cursor.parse(answer["cursor"])
    assert place == place_of_head("default")
    life = Life(ada)
    told(life("queued"))
    following = read_after(place, "default")
    assert isinstance(following, Page)
    assert [json.loads(row.payload)["id"] for row in following.rows] == [life.identity.run]


@pytest.mark.parametrize("limit", ["1", "2", "100"])
def test_a_list_is_as_long_as_asked(page: Client, ada: Any, limit: str) -> None:
    told(*(Life(ada)("queued") for _ in range(3)))
    assert len(page.get("/taskbell/runs/", {"limit": limit}).json()["runs"]) == min(3, int(limit))


@pytest.mark.parametrize("limit", ["0", "-1", "101", "x", "", "1e9", "٣" * 5_000])
def test_a_limit_out_of_bounds_is_refused(page: Client, limit: str) -> None:
    answer = page.get("/taskbell/runs/", {"limit": limit})
    assert answer.status_code == 400
    assert "limit" in answer.json()["error"]


def test_a_run_is_found_by_both_ids_before_and_after_the_tick(page: Client, ada: Any) -> None:
    life = Life(ada)
    with transaction.atomic():
        tell(life("queued"))
        before = [page.get(f"/taskbell/runs/{id}/").json()["run"] for id in (life.identity.run, life.identity.task_id)]
    told()
    after = page.get(f"/taskbell/runs/{life.identity.task_id}/").json()["run"]
    assert before == [after, after]
    assert set(after) == {
        "id", "task_id", "name", "label", "state", "was", "late", "cancelling", "attempt", "done", "total", "message",
        "result", "error", "parent", "queued_at", "started_at", "finished_at", "next_attempt_at", "at",
    }  # fmt: skip


def test_another_persons_run_is_as_unknown_as_none(page: Client, ada: Any) -> None:
    life = Life(User.objects.create(username="bob"))
    tell(life("queued"))
    ids = (life.identity.run, life.identity.task_id)
    answers = [page.get(f"/taskbell/runs/{id}/") for id in (*ids, uuid.uuid4(), "%00")]
    told()
    answers += [page.get(f"/taskbell/runs/{id}/") for id in ids]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert page.get("/taskbell/runs/").json()["runs"] == []


@pytest.mark.parametrize("url", ["/taskbell/runs/", "/taskbell/runs/x/"])
def test_nobody_is_told_to_sign_in(page: Client, ada: Any, url: str) -> None:
    assert Client().get(url).status_code == 401
    ada.is_active = False
    ada.save()
    assert page.get(url).status_code == 401


@pytest.mark.parametrize("url", ["/taskbell/runs/", "/taskbell/runs/x/"])
def test_only_reading_is_allowed_and_nothing_is_cached(page: Client, url: str) -> None:
    assert {page.generic(method, url).status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}
    answer = page.get(url)
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["Content-Type"] == "application/json"


def test_the_hook_says_who_asks(ada: Any, settings: Any) -> None:
    def by_token(request: HttpRequest) -> Any:
        return ada if request.headers.get("Authorization") == "Token ada" else None

    settings.TASKBELL = {"AUTHENTICATE": by_token}
    assert Client().get("/taskbell/runs/").status_code == 401
    assert Client().get("/taskbell/runs/", headers={"Authorization": "Token ada"}).status_code == 200


def test_without_a_head_the_cursor_is_empty(page: Client) -> None:
    assert page.get("/taskbell/runs/").json() == {"runs": [], "cursor": ""}
