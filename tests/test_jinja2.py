"""The tags in Jinja2: the same functions, so the same page."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.template import RequestContext, Template, engines
from django.test import override_settings

from taskbell.models import Log
from taskbell.runs.states import Kind
from taskbell.store.head import create_head
from taskbell.templatetags import taskbell as tags
from tests.test_templatetags import request_of, tell

pytestmark = pytest.mark.django_db

JINJA: dict[str, Any] = {
    "BACKEND": "django.template.backends.jinja2.Jinja2",
    "OPTIONS": {"extensions": ["taskbell.jinja2.Tags"]},
}
DJANGO: dict[str, Any] = {"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}
RUN = "7b1c5f0e-2d0f-4c39-9a64-0c3b7a5e8d21"


@pytest.fixture(autouse=True)
def pages() -> Any:
    create_head(router.db_for_write(Log))
    with override_settings(TEMPLATES=[JINJA, DJANGO], ROOT_URLCONF="tests.browser.urls", STATIC_URL="/static/"):
        yield


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


def render(source: str, request: Any, **values: Any) -> str:
    return engines["jinja2"].from_string(source).render(values, request)


def in_django(source: str, request: Any, **values: Any) -> str:
    return Template("{% load taskbell %}" + source).render(RequestContext(request, {"request": request, **values}))


@pytest.mark.parametrize(
    ("function", "tag"),
    [
        ("{{ taskbell_toasts(request) }}", "{% taskbell_toasts %}"),
        ("{{ taskbell_run(request, task) }}", "{% taskbell_run task %}"),
        ("{{ taskbell_run(request, 'task-%s') }}" % RUN, "{%% taskbell_run 'task-%s' %%}" % RUN),
        ("{{ taskbell_run(request, none) }}", "{% taskbell_run None %}"),
        ("{{ taskbell_runs(request) }}", "{% taskbell_runs %}"),
        ("{{ taskbell_runs(request, 1) }}", "{% taskbell_runs 1 %}"),
        ("{{ taskbell_runs(request, limit=1) }}", "{% taskbell_runs limit=1 %}"),
        ("{{ taskbell_inbox(request, limit=3) }}", "{% taskbell_inbox limit=3 %}"),
    ],
)
@pytest.mark.parametrize("engines", [[JINJA, DJANGO], [JINJA]], ids=["both engines", "Jinja2 alone"])
def test_both_languages_say_the_same(user: User, function: str, tag: str, engines: list[Any]) -> None:
    kinds: tuple[Kind, ...] = ("queued", "started")
    for kind in kinds:
        tell(user, kind, run=RUN, label='Resizing <b>"photo"</b>')
    expected = in_django(tag, request_of(user), task=f"task-{RUN}")
    with override_settings(TEMPLATES=engines):
        assert render(function, request_of(user), task=f"task-{RUN}") == expected
        assert render(function, request_of(AnonymousUser()), task=f"task-{RUN}") == ""


def test_the_script_has_a_nonce_from_the_context_or_the_request(user: User) -> None:
    source = "{{ taskbell_script(request) }}"
    assert ' nonce="n0nce" data-taskbell ' in render(source, request_of(user), csp_nonce="n0nce")
    assert ' nonce="n0nce" data-taskbell ' in render(source, request_of(user, csp_nonce="n0nce"))
    assert "nonce" not in render(source, request_of(user))


def test_one_page_is_true_at_one_place(user: User) -> None:
    tell(user, "queued", run=RUN)
    page = render("{{ taskbell_script(request) }}{{ taskbell_runs(request) }}", request_of(user))
    assert len(set(tags_cursors(page))) == 1


def tags_cursors(page: str) -> list[str]:
    return [word.split('"')[1] for word in page.split() if word.startswith("data-cursor=")]


def test_every_tag_is_a_function() -> None:
    environment = engines["jinja2"].env
    assert tags.register.tags.keys() <= environment.globals.keys()


def test_without_a_request_it_says_what_to_do(user: User) -> None:
    with pytest.raises(ImproperlyConfigured, match="need the request"):
        render("{{ taskbell_script(nothing) }}", request_of(user))


def test_a_projects_own_template_holds_here_too(user: User, tmp_path: Any) -> None:
    (tmp_path / "taskbell").mkdir()
    (tmp_path / "taskbell/run.html").write_text("<i>{{ shown.label }}</i>")
    tell(user, "queued", run=RUN, label="<b>")
    with override_settings(TEMPLATES=[JINJA, {**DJANGO, "DIRS": [tmp_path]}]):
        assert render("{{ taskbell_run(request, run) }}", request_of(user), run=RUN) == "<i>&lt;b&gt;</i>"
