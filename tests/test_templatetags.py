"""The tags, on a database of the test's own: what a page gets, and what it never gets."""

import html
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends import db, signed_cookies
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, router
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import rotate_token
from django.template import Context, RequestContext, Template
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from django.utils.functional import SimpleLazyObject
from django.utils.translation import override

from taskbell import notify
from taskbell.inbox.push.keys import new_private, public_of
from taskbell.inbox.read import list_notifications
from taskbell.models import Log, Outbox, Run
from taskbell.runs.facts import to_row
from taskbell.runs.read import get_run
from taskbell.runs.states import Fact, Identity, Kind
from taskbell.store.head import create_head
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of, publish
from taskbell.store.people import account_name
from taskbell.store.tick import Ticker
from taskbell.templatetags.taskbell import person_key

pytestmark = pytest.mark.django_db

PUSH = {"PRIVATE_KEY": new_private(), "CONTACT": "mailto:ann@example.com"}
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]


@pytest.fixture(autouse=True)
def pages() -> Iterator[None]:
    """The head of the log and the settings that a project with pages has."""
    create_head(router.db_for_write(Log))
    with override_settings(TEMPLATES=TEMPLATES, ROOT_URLCONF="tests.browser.urls", STATIC_URL="/static/"):
        yield


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


def request_of(user: Any, **attributes: Any) -> HttpRequest:
    request = HttpRequest()
    request.user = user
    request.session = db.SessionStore("a" * 32)
    for name, value in attributes.items():
        setattr(request, name, value)
    return request


def render(source: str, request: HttpRequest, **values: Any) -> str:
    context = RequestContext(request, {"request": request, **values})
    return Template("{% load taskbell %}" + source).render(context)


def tell(user: User, kind: Kind, *, run: str, label: str = "Resizing photo", **fields: Any) -> str:
    """Let a fact wait in the outbox, as an engine would; return the task's id."""
    identity = Identity(
        run=run,
        task_id=f"task-{run}",
        engine="test",
        name="photos.tasks.resize",
        label=label,
        user_key=key_of(user),
        queued_at=1_700_000_000.0,
    )
    to_row(Fact(identity=identity, kind=kind, at=1_700_000_001.0, **fields)).save()
    return identity.task_id


def attributes(markup: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in re.findall(r'([a-z-]+)="([^"]*)"', markup)}


class TestScript:
    def test_tells_the_client_where_everything_is(self, user: User) -> None:
        request = request_of(user)
        found = attributes(render("{% taskbell_script %}", request))
        assert len(found.pop("data-csrf")) == 64
        assert found == {
            "type": "module",
            "src": "/static/taskbell/taskbell.js",
            "data-events": "/events/",
            "data-runs": "/taskbell/runs/",
            "data-notifications": "/taskbell/notifications/",
            "data-person": person_key(request),
            "data-account": account_name(str(user.pk)),
            "data-cursor": str(place_of_head("default")),
            "data-ping": "20",
        }

    def test_tells_where_browsers_subscribe(self, user: User) -> None:
        with override_settings(TASKBELL={"PUSH": PUSH}):
            found = attributes(render("{% taskbell_script %}", request_of(user)))
            assert found["data-push"] == "/taskbell/push/subscriptions/"
            assert found["data-push-key"] == public_of(PUSH["PRIVATE_KEY"])
            assert PUSH["PRIVATE_KEY"] not in str(found)
            assert render("{% taskbell_push %}", request_of(user)) == "<taskbell-push></taskbell-push>"
            assert render("{% taskbell_push %}", request_of(AnonymousUser())) == ""

    @pytest.mark.parametrize("push", [{}, {"PRIVATE_KEY": "none"}, PUSH | {"CONTACT": ""}])
    def test_a_site_without_web_push_says_nothing_of_it(self, user: User, push: dict[str, Any]) -> None:
        with override_settings(TASKBELL={"PUSH": push}):
            assert "push" not in render("{% taskbell_script %}{% taskbell_push %}", request_of(user))
        with override_settings(TASKBELL={"PUSH": PUSH}, ROOT_URLCONF="tests.urls"):
            assert "push" not in render("{% taskbell_script %}{% taskbell_push %}", request_of(user))

    def test_has_no_nonce_where_there_is_none(self, user: User) -> None:
        assert "nonce" not in render("{% taskbell_script %}", request_of(user))

    def test_takes_the_nonce_of_django_csp(self, user: User) -> None:
        request = request_of(user, csp_nonce=SimpleLazyObject(lambda: "n0nce"))
        assert attributes(render("{% taskbell_script %}", request))["nonce"] == "n0nce"

    def test_takes_the_nonce_of_django(self, user: User) -> None:
        class LazyNonce(SimpleLazyObject):  # type: ignore[type-arg]  # Django's own is no generic
            """As Django 6 has it: false until it is used."""

            def __bool__(self) -> bool:
                return False

        found = attributes(render("{% taskbell_script %}", request_of(user), csp_nonce=LazyNonce(lambda: "n0nce")))
        assert found["nonce"] == "n0nce"

    def test_escapes_what_it_writes(self, user: User) -> None:
        assert 'nonce="&quot;&gt;"' in render("{% taskbell_script %}", request_of(user, csp_nonce='">'))

    def test_does_without_the_api(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("taskbell.templatetags.taskbell._address", lambda name: "")
        assert "data-runs" not in attributes(render("{% taskbell_script %}", request_of(user)))

    def test_starts_from_now_where_there_is_no_log_yet(self, user: User) -> None:
        from taskbell.models import LogHead

        LogHead.objects.all().delete()
        assert attributes(render("{% taskbell_script %}", request_of(user)))["data-cursor"] == ""


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(render("{% taskbell_script %}", request))


urlpatterns = [
    path("", page),
    path("taskbell/", include("taskbell.urls.api")),
    path("events/", include("taskbell.urls.events")),
]


class TestToken:
    """What a page does with the token that the tag gives it."""

    @pytest.fixture(autouse=True)
    def site(self, pages: None) -> Iterator[None]:
        middleware = [*settings.MIDDLEWARE, "django.middleware.csrf.CsrfViewMiddleware"]
        with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=middleware):
            yield

    @pytest.fixture
    def client(self, user: User) -> Client:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        return client

    @pytest.fixture
    def run(self, user: User) -> str:
        run = str(uuid4())
        tell(user, "started", run=run, execution="1")
        return run

    def cancel(self, client: Client, run: str, markup: str) -> int:
        found = attributes(markup)
        header = {found.get("data-csrf-header", "X-CSRFToken"): found["data-csrf"]}
        return client.post(f"/taskbell/runs/{run}/cancel/", headers=header).status_code

    @pytest.mark.parametrize(
        "said",
        [
            {},
            {"CSRF_USE_SESSIONS": True},
            {"CSRF_COOKIE_HTTPONLY": True},
            {"CSRF_HEADER_NAME": "HTTP_X_XSRF_TOKEN", "CSRF_COOKIE_NAME": "XSRF-TOKEN"},
        ],
        ids=lambda said: " ".join(said) or "as Django has it",
    )
    def test_is_taken(self, client: Client, run: str, said: dict[str, Any]) -> None:
        with override_settings(**said):
            assert self.cancel(client, run, client.get("/").content.decode()) == 202

    def test_of_an_older_page_is_taken_too(self, client: Client, run: str) -> None:
        older = client.get("/").content.decode()
        assert older != client.get("/").content.decode()
        assert self.cancel(client, run, older) == 202

    def test_of_before_another_sign_in_is_refused(self, client: Client, run: str, user: User) -> None:
        older = client.get("/").content.decode()
        rotated = HttpRequest()
        rotate_token(rotated)
        client.cookies[settings.CSRF_COOKIE_NAME] = rotated.META["CSRF_COOKIE"]
        assert self.cancel(client, run, older) == 403
        assert self.cancel(client, run, client.get("/").content.decode()) == 202

    def test_keeps_the_page_out_of_shared_caches(self, client: Client) -> None:
        assert "Cookie" in client.get("/").headers["Vary"]


class TestOnePlace:
    def test_is_read_before_any_run_and_shared_by_all_tags(self, user: User) -> None:
        request = request_of(user)
        task = tell(user, "queued", run=str(uuid4()))
        first = attributes(render("{% taskbell_run task %}", request, task=task))["data-cursor"]
        publish(user, "message", {})
        Ticker("default").tick()
        assert str(place_of_head("default")) != first
        assert attributes(render("{% taskbell_script %}", request))["data-cursor"] == first

    def test_is_another_in_another_request(self, user: User) -> None:
        before = attributes(render("{% taskbell_script %}", request_of(user)))["data-cursor"]
        publish(user, "message", {})
        Ticker("default").tick()
        assert attributes(render("{% taskbell_script %}", request_of(user)))["data-cursor"] != before


class TestPersonKey:
    def test_stays_from_page_to_page(self, user: User) -> None:
        assert person_key(request_of(user)) == person_key(request_of(user))

    def test_is_another_for_another_person_or_sign_in(self, user: User) -> None:
        other = User.objects.create_user("bob")
        keys = {
            person_key(request_of(user)),
            person_key(request_of(other)),
            person_key(request_of(user, session=db.SessionStore("b" * 32))),
        }
        assert len(keys) == 3

    def test_does_not_change_with_a_session_that_is_written_anew_into_its_cookie(self, user: User) -> None:
        one, two = signed_cookies.SessionStore("one"), signed_cookies.SessionStore("two")
        assert person_key(request_of(user, session=one)) == person_key(request_of(user, session=two))

    def test_needs_no_session(self, user: User) -> None:
        assert person_key(request_of(user, session=None))

    def test_shows_nothing_of_the_session(self, user: User) -> None:
        assert "aaaa" not in person_key(request_of(user))


class TestRun:
    def test_shows_the_state_and_a_way_to_reload(self, user: User) -> None:
        run = str(uuid4())
        task = tell(user, "queued", run=run)
        tell(user, "progress", run=run, execution="1", done=2, total=5)
        shown = render("{% taskbell_run task %}", request_of(user), task=task)
        found = attributes(shown)
        assert found["run"] == run
        assert json.loads(found["data-run"])["state"] == "running"
        assert '<p>Resizing photo: Running, 40 % <a href="">Reload</a></p>' in shown

    def test_says_why_it_failed_and_offers_no_reload(self, user: User) -> None:
        task = tell(user, "failed", run=str(uuid4()), execution="1", error_message="Too <dark>.")
        shown = render("{% taskbell_run task %}", request_of(user), task=task)
        assert "<p>Resizing photo: Failed. Too &lt;dark&gt;.</p>" in shown

    def test_speaks_the_language_of_the_page(self, user: User) -> None:
        task = tell(user, "queued", run=str(uuid4()))
        with override("ko"):
            assert "대기 중" in render("{% taskbell_run task %}", request_of(user), task=task)
        with override("de"):
            assert "Queued" in render("{% taskbell_run task %}", request_of(user), task=task)

    def test_takes_whatever_names_a_run(self, user: User) -> None:
        run = str(uuid4())
        task = tell(user, "queued", run=run)

        class AsyncResult:
            id = task_id = task

        class TaskResult:
            id = 42
            task_id = task

        class Enqueued:
            id = task

        for named in (task, run, AsyncResult(), TaskResult(), Enqueued(), get_run(run, user), Run(id=run, task_id="?")):
            assert attributes(render("{% taskbell_run run %}", request_of(user), run=named))["run"] == run

    def test_of_another_person_is_nothing(self, user: User) -> None:
        task = tell(User.objects.create_user("bob"), "queued", run=str(uuid4()))
        assert render("{% taskbell_run task %}", request_of(user), task=task) == ""

    @pytest.mark.parametrize("named", ["", None, "no such task", "\0", "'\"><script>"])
    def test_that_does_not_exist_is_nothing(self, user: User, named: str | None) -> None:
        assert render("{% taskbell_run task %}", request_of(user), task=named) == ""

    def test_escapes_everything(self, user: User) -> None:
        evil = "'\"><script>alert(1)</script>"
        task = tell(user, "succeeded", run=str(uuid4()), label=evil, execution="1", result=evil, done=1, message=evil)
        shown = render("{% taskbell_run task %}", request_of(user), task=task)
        assert "<script" not in shown
        assert json.loads(attributes(shown)["data-run"])["label"] == evil


class TestInbox:
    def test_counts_and_lists_what_there_is(self, user: User) -> None:
        for number in range(7):
            notify(user, f"Number {number}", body="<b>", url="/page/?a=1&b=2" if number == 6 else "")
        notify(User.objects.create_user("bob"), "Not yours")
        shown = render("{% taskbell_inbox limit=2 %}", request_of(user))
        found = attributes(shown)
        assert (found["data-unread"], found["data-cursor"]) == ("7", str(place_of_head("default")))
        assert "<summary>Inbox (7)</summary>" in shown
        assert re.findall(r"<li>(.*?)</li>", shown) == [
            '<a href="/page/?a=1&amp;b=2">Number 6</a>: &lt;b&gt; (Unread)',
            "Number 5: &lt;b&gt; (Unread)",
        ]

    def test_names_those_that_wait_for_their_number(self, user: User) -> None:
        notify(user, "Numbered")
        Ticker("default").tick()
        notify(user, "Waiting")
        found = attributes(render("{% taskbell_inbox %}", request_of(user)))
        waiting, numbered = list_notifications(user).notifications
        assert (found["data-unread"], found["data-waiting"]) == ("2", str(waiting.id))
        Ticker("default").tick()
        assert "data-waiting" not in render("{% taskbell_inbox %}", request_of(user))
        assert numbered.seq > 0

    def test_writes_a_number_that_a_script_can_read(self, user: User) -> None:
        for number in range(1_001):
            notify(user, str(number))
        with override_settings(USE_THOUSAND_SEPARATOR=True), override("de"):
            shown = render("{% taskbell_inbox %}", request_of(user))
        assert attributes(shown)["data-unread"] == "1001"
        assert "Inbox (1.001)" in shown

    def test_says_that_there_is_nothing(self, user: User) -> None:
        shown = render("{% taskbell_inbox %}", request_of(user))
        assert "<summary>Inbox</summary><ul><li>No messages yet</li></ul>" in shown

    def test_speaks_the_language_of_the_page(self, user: User) -> None:
        with override("ko"):
            assert "<summary>알림함</summary>" in render("{% taskbell_inbox %}", request_of(user))

    def test_is_nothing_without_the_api(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("taskbell.templatetags.taskbell._address", lambda name: "")
        assert render("{% taskbell_inbox %}", request_of(user)) == ""


class TestRuns:
    def test_lists_the_person_s_own(self, user: User) -> None:
        runs = {str(uuid4()) for _ in range(3)}
        for run in runs:
            tell(user, "queued", run=run)
        tell(User.objects.create_user("bob"), "queued", run=str(uuid4()))
        shown = render("{% taskbell_runs %}", request_of(user))
        assert set(re.findall(r'<taskbell-run run="([^"]+)"', shown)) == runs
        assert shown.count('role="listitem"') == 3
        assert attributes(shown)["limit"] == "20"

    def test_lists_as_many_as_asked(self, user: User) -> None:
        for _ in range(3):
            tell(user, "queued", run=str(uuid4()))
        assert render("{% taskbell_runs limit=2 %}", request_of(user)).count("<taskbell-run ") == 2

    def test_says_that_there_is_none(self, user: User) -> None:
        assert '<p slot="none">No tasks yet</p></taskbell-runs>' in render("{% taskbell_runs %}", request_of(user))


@pytest.mark.parametrize(
    "tag",
    ["script %}", "toasts %}", "run 'x' %}", "runs %}", "inbox %}"],
)
class TestEveryTag:
    def test_renders_nothing_for_nobody(self, tag: str, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            assert render("{% taskbell_" + tag, request_of(AnonymousUser())) == ""
            assert render("{% taskbell_" + tag, HttpRequest()) == ""

    def test_says_what_is_missing_without_a_request(self, tag: str) -> None:
        with pytest.raises(ImproperlyConfigured, match=r"context_processors\.request"):
            Template("{% load taskbell %}{% taskbell_" + tag).render(Context())


def test_toasts(user: User) -> None:
    assert render("{% taskbell_toasts %}", request_of(user)) == "<taskbell-toasts></taskbell-toasts>"


def test_an_inbox_costs_a_page_the_same_however_full_it_is(user: User) -> None:
    def queries(count: int) -> int:
        for number in range(count):
            notify(user, str(number))
        Ticker("default").tick()
        with CaptureQueriesContext(connection) as asked:
            render("{% taskbell_inbox %}", request_of(user))
        return len(asked)

    assert queries(10) == queries(300) < 10


def test_a_page_writes_nothing(user: User, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        render("{% taskbell_script %}{% taskbell_toasts %}", request_of(user))
    assert not Outbox.objects.exists()
