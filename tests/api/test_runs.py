"""Runs as JSON, by Django's test client."""

import json
import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.http import HttpRequest
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from taskbell.ground.cursor import Cursor
from taskbell.models import Outbox
from taskbell.runs.states import ENDINGS, STEPS_SHOWN
from taskbell.store.log import Page, place_of_head, read_after
from taskbell.store.people import account_name
from tests.runs.telling import Life, TreeLife, tell, told

pytestmark = [pytest.mark.contract, pytest.mark.django_db, pytest.mark.urls(__name__)]

urlpatterns = [path("taskbell/", include("taskbell.urls.api"))]

User = get_user_model()


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
        "result", "error", "parent", "step", "steps", "queued_at", "started_at", "finished_at", "next_attempt_at", "at",
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


class TestTree:
    def test_has_its_steps_with_their_states(self, page: Client, ada: Any) -> None:
        tree = TreeLife(ada)
        told(tree.close(3), tree.step(0)("succeeded"), tree.step(1)("started"))
        run = page.get(f"/taskbell/runs/{tree.identity.run}/").json()["run"]
        assert (run["label"], run["state"], run["done"], run["total"]) == ("Import 42", "running", 1, 3)
        assert run["steps"].pop("list") == [
            {"id": tree.step(place).identity.run, "label": f"Step {place}", "state": state}
            for place, state in enumerate(["succeeded", "running", "queued"])
        ]
        counted = {state: count for state, count in run["steps"].items() if count}
        assert counted == {"total": 3, "succeeded": 1, "running": 1, "queued": 1}

    def test_is_known_with_its_plan_before_the_tick(self, page: Client, ada: Any) -> None:
        tree = TreeLife(ada)
        tell(tree.close(3), *(tree.step(place)("queued") for place in range(3)))
        url = f"/taskbell/runs/{tree.identity.run}/"
        before = page.get(url).json()["run"]
        told()
        assert before == page.get(url).json()["run"]
        assert [step["label"] for step in before["steps"]["list"]] == ["Step 0", "Step 1", "Step 2"]

    def test_lists_the_first_of_many_steps(self, page: Client, ada: Any) -> None:
        tree, total = TreeLife(ada), 1_000
        told(tree.close(total), *(tree.step(place)("succeeded") for place in (0, total - 1)))
        steps = page.get(f"/taskbell/runs/{tree.identity.run}/").json()["run"]["steps"]
        assert (steps["total"], steps["succeeded"], len(steps["list"])) == (total, 2, STEPS_SHOWN)

    def test_is_listed_once_and_none_of_its_steps_is(self, page: Client, ada: Any) -> None:
        tree, alone = TreeLife(ada), Life(ada)
        tell(tree.close(3), *(tree.step(place)("started") for place in range(3)), alone("queued"))
        for _ in range(2):
            listed = page.get("/taskbell/runs/").json()["runs"]
            assert [run["id"] for run in listed] == [alone.identity.run, tree.identity.run]
            told()

    def test_leaves_its_room_in_the_list_to_others(self, page: Client, ada: Any) -> None:
        """Steps are younger than what was enqueued before them, and count for nothing in the limit."""
        alone, tree = Life(ada, queued_at=1.0), TreeLife(ada)
        told(alone("queued"), tree.close(5), *(tree.step(place)("started") for place in range(5)))
        listed = page.get("/taskbell/runs/", {"limit": 2}).json()["runs"]
        assert [run["id"] for run in listed] == [tree.identity.run, alone.identity.run]

    def test_gives_a_step_by_its_own_id(self, page: Client, ada: Any) -> None:
        tree = TreeLife(ada)
        tell(tree.close(2), tree.step(1)("started"))
        for _ in range(2):
            step = page.get(f"/taskbell/runs/{tree.step(1).identity.run}/").json()["run"]
            assert (step["parent"], step["step"], step["steps"]) == (tree.identity.run, 1, None)
            assert (step["label"], step["state"]) == ("Step 1", "running")
            told()

    def test_of_another_is_unknown_with_all_its_steps(self, page: Client, ada: Any) -> None:
        tree = TreeLife(User.objects.create(username="bob"))
        tell(tree.close(2), tree.step(0)("started"))
        for _ in range(2):
            for id in (tree.identity.run, tree.step(0).identity.run):
                assert page.get(f"/taskbell/runs/{id}/").status_code == 404
            assert page.get("/taskbell/runs/").json()["runs"] == []
            told()


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


@pytest.mark.parametrize(("url", "status"), [("/taskbell/runs/", 200), ("/taskbell/runs/x/", 404)])
def test_every_answer_says_whose_it_is(page: Client, ada: Any, url: str, status: int) -> None:
    answer = page.get(url)
    assert (answer.status_code, answer.headers["Taskbell-Account"]) == (status, account_name(str(ada.pk)))
    assert "Taskbell-Account" not in Client().get(url).headers


def test_the_hook_says_who_asks(ada: Any, settings: Any) -> None:
    def by_token(request: HttpRequest) -> Any:
        return ada if request.headers.get("Authorization") == "Token ada" else None

    settings.TASKBELL = {"AUTHENTICATE": by_token}
    assert Client().get("/taskbell/runs/").status_code == 401
    assert Client().get("/taskbell/runs/", headers={"Authorization": "Token ada"}).status_code == 200


def test_without_a_head_the_cursor_is_empty(page: Client) -> None:
    assert page.get("/taskbell/runs/").json() == {"runs": [], "cursor": ""}


class TestCancel:
    """The wish alone; what becomes of it is in tests/engines/test_cancel.py."""

    def test_is_a_fact_in_the_requests_transaction_and_is_told(self, page: Client, ada: Any) -> None:
        life = Life(ada)
        told(life("started"))
        with CaptureQueriesContext(connection) as captured:
            answer = page.post(f"/taskbell/runs/{life.identity.run}/cancel/")
        assert answer.status_code == 202
        assert [query["sql"].split()[0] for query in captured if "select" not in query["sql"].lower()] == ["INSERT"]
        [event] = told()
        assert answer.json()["run"] == {**event, "was": None, "at": answer.json()["run"]["at"]}
        assert (event["state"], event["cancelling"]) == ("running", True)

    def test_goes_with_the_transaction(self, page: Client, ada: Any) -> None:
        life = Life(ada)
        told(life("started"))
        with transaction.atomic():
            assert page.post(f"/taskbell/runs/{life.identity.run}/cancel/").status_code == 202
            transaction.set_rollback(True)
        assert told() == []

    def test_of_a_run_that_was_just_enqueued(self, page: Client, ada: Any) -> None:
        life = Life(ada)
        tell(life("queued"))
        assert page.post(f"/taskbell/runs/{life.identity.task_id}/cancel/").json()["run"]["cancelling"]
        assert [(event["state"], event["cancelling"]) for event in told()] == [("queued", False), ("queued", True)]

    def test_twice_is_told_once(self, page: Client, ada: Any) -> None:
        life = Life(ada)
        told(life("started"))
        answers = [page.post(f"/taskbell/runs/{life.identity.run}/cancel/") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [202, 202]
        assert len(told()) == 1
        assert page.post(f"/taskbell/runs/{life.identity.run}/cancel/").status_code == 202
        assert told() == []

    @pytest.mark.parametrize("ending", sorted(ENDINGS))
    def test_of_what_has_ended_is_refused_with_the_ending(self, page: Client, ada: Any, ending: Any) -> None:
        life = Life(ada)
        told(life(ending))
        answer = page.post(f"/taskbell/runs/{life.identity.run}/cancel/")
        assert (answer.status_code, answer.json()["run"]["state"]) == (409, ending)
        assert not answer.json()["run"]["cancelling"]
        assert told() == []

    def test_that_comes_after_the_ending_changes_nothing(self, page: Client, ada: Any) -> None:
        life = Life(ada)
        told(life("started"))
        page.post(f"/taskbell/runs/{life.identity.run}/cancel/")
        wish = Outbox.objects.get()
        Outbox.objects.all().delete()
        told(life("succeeded"))
        wish.save(force_insert=True)
        assert told() == []

    def test_of_another_persons_run_is_as_unknown_as_none(self, page: Client) -> None:
        life = Life(User.objects.create(username="bob"))
        told(life("started"))
        ids = (life.identity.run, life.identity.task_id, uuid.uuid4(), "%00")
        answers = [page.post(f"/taskbell/runs/{id}/cancel/") for id in ids]
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.content for answer in answers}) == 1
        assert told() == []

    def test_nobody_is_told_to_sign_in(self, ada: Any) -> None:
        assert Client().post("/taskbell/runs/x/cancel/").status_code == 401

    def test_only_by_post(self, page: Client) -> None:
        methods = ("GET", "HEAD", "PUT", "DELETE", "PATCH")
        assert {page.generic(method, "/taskbell/runs/x/cancel/").status_code for method in methods} == {405}

    def test_wants_the_pages_token_also_in_a_project_without_the_middleware(self, ada: Any, settings: Any) -> None:
        life = Life(ada)
        told(life("started"))
        client, url = Client(enforce_csrf_checks=True), f"/taskbell/runs/{life.identity.run}/cancel/"
        client.force_login(ada)
        assert "django.middleware.csrf.CsrfViewMiddleware" not in settings.MIDDLEWARE
        assert client.post(url).status_code == 403
        assert told() == []
        client.cookies[settings.CSRF_COOKIE_NAME] = token = "a" * 32
        assert client.post(url, headers={"X-CSRFToken": token}).status_code == 202

    def test_the_hook_says_who_asks(self, ada: Any, settings: Any) -> None:
        life = Life(ada)
        told(life("started"))
        settings.TASKBELL = {"AUTHENTICATE": lambda request: ada if "Authorization" in request.headers else None}
        url = f"/taskbell/runs/{life.identity.run}/cancel/"
        assert Client().post(url).status_code == 401
        assert Client().post(url, headers={"Authorization": "Token ada"}).status_code == 202
