"""Every check both ways: silent on a project that is fine, and telling one that is not what to type."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core import checks
from django.db import connections
from django.test import override_settings

from taskbell.gateway.files import BESIDE_STREAMS
from tests.checking import found
from tests.servers.project import Project, environment

# This module is also a URLconf without streams.
urlpatterns: list[Any] = []


class Router:
    """Sends the tables of Taskbell to another database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "events" if model._meta.app_label == "taskbell" else None


def test_a_project_that_is_fine_hears_nothing() -> None:
    assert found() == {}


def test_they_run_with_every_command(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    one.configure(PNG=5)
    checked = one.run("check")
    assert checked.returncode == 1
    assert "(taskbell.E004) TASKBELL has no key 'PNG'." in checked.stderr
    assert "HINT: Did you mean 'PING'?" in checked.stderr


def test_loading_them_asks_nothing_and_imports_nothing_heavy() -> None:
    program = (
        "import django, sys; django.setup(); from django.db import connections; import taskbell.checks;"
        "from django.core.checks import run_checks; run_checks(tags=['compatibility']);"
        "print([name for name in ('uvicorn', 'redis') if name in sys.modules], "
        "[c.alias for c in connections.all(initialized_only=True) if c.connection is not None])"
    )
    argv = [sys.executable, "-c", program]
    ran = subprocess.run(argv, env=environment("/nowhere/db"), capture_output=True, text=True, check=True)
    assert ran.stdout == "[] []\n"


# W011


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("", True),
        ("import tests.engines.project", False),
        ("from celery import Celery; app = Celery(set_as_current=False)", False),
        ("from django.conf import settings; settings.TASKBELL = {}", False),
    ],
    ids=["none", "the project's", "one, and so the default", "no tasks"],
)
def test_w011_no_celery_application(before: str, told: bool) -> None:
    """In a process of its own: whether there is an application is known of the whole process."""
    program = (
        f"import django; django.setup(); {before or 'pass'};"
        "from django.core.checks import run_checks; print([one.id for one in run_checks(tags=['taskbell'])])"
    )
    env = environment("/nowhere/db", TASKS={"*": ""})
    ran = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert ("taskbell.W011" in ran.stdout) is told


# E001


@pytest.mark.parametrize("mode", [None, "", "DEFERRED"])
def test_e001_sqlite_that_begins_as_a_reader(monkeypatch: pytest.MonkeyPatch, mode: str | None) -> None:
    options = connections["default"].settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "transaction_mode", mode)
    message = found()["taskbell.E001"]
    assert isinstance(message, checks.Error)
    assert '"transaction_mode": "IMMEDIATE"' in (message.hint or "")


@pytest.mark.parametrize("mode", ["IMMEDIATE", "immediate", "EXCLUSIVE"])
def test_e001_is_silent_where_the_lock_is_taken_at_once(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setitem(connections["default"].settings_dict["OPTIONS"], "transaction_mode", mode)
    assert "taskbell.E001" not in found()


@pytest.fixture
def events() -> Iterator[Callable[..., None]]:
    """Have a database `events` of these settings, with the tables of Taskbell."""

    def use(**settings: Any) -> None:
        connections.settings["events"] = connections.configure_settings({"default": {}, "events": settings})["events"]

    with override_settings(DATABASE_ROUTERS=[Router()]):
        yield use
    del connections.settings["events"], connections["events"]


def test_e001_looks_at_the_database_that_the_outbox_is_in(events: Callable[..., None]) -> None:
    events(ENGINE="django.db.backends.sqlite3", NAME="/nowhere/events.sqlite3")
    assert "DATABASES['events']" in (found()["taskbell.E001"].hint or "")


def test_e001_leaves_a_database_in_memory_alone(events: Callable[..., None]) -> None:
    events(ENGINE="django.db.backends.sqlite3", NAME=":memory:")
    assert found() == {}


def test_e001_leaves_postgresql_alone(events: Callable[..., None]) -> None:
    events(ENGINE="django.db.backends.postgresql", NAME="nothing")
    assert found() == {}


# W002


@override_settings(DEBUG=False, WSGI_APPLICATION="project.wsgi.application")
def test_w002_wsgi_in_production() -> None:
    message = found(deploy=True)["taskbell.W002"]
    assert "taskbell serve" in (message.hint or "")
    assert "EventsMiddleware" in (message.hint or "")


@override_settings(DEBUG=False, WSGI_APPLICATION="project.wsgi.application")
def test_w002_nags_nobody_at_every_start() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    "settings",
    [
        {"DEBUG": True, "WSGI_APPLICATION": "project.wsgi.application"},
        {"WSGI_APPLICATION": "project.wsgi.application", "ASGI_APPLICATION": "project.asgi.application"},
        {"WSGI_APPLICATION": None},
    ],
)
def test_w002_is_silent(settings: dict[str, Any]) -> None:
    with override_settings(**{"DEBUG": False} | settings):
        assert "taskbell.W002" not in found(deploy=True)


# W007


def limit(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (min(1024, hard), hard))


def test_w007_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 1024)
    message = found(deploy=True)["taskbell.W007"]
    assert "1,024 files" in message.msg
    assert f"LimitNOFILE={20_000 + BESIDE_STREAMS}" in (message.hint or "")
    assert "taskbell.W007" not in found()


@pytest.mark.parametrize("hard", [20_000 + BESIDE_STREAMS, resource.RLIM_INFINITY])
def test_w007_is_silent_with_enough(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (hard, hard))
    assert "taskbell.W007" not in found(deploy=True)


@override_settings(TASKBELL={"STREAMS_PER_PROCESS": 1024 - BESIDE_STREAMS})
def test_w007_counts_the_streams_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, 1024)
    assert "taskbell.W007" not in found(deploy=True)


# W008


@pytest.mark.parametrize("known", [True, False])
def test_w008_a_uvicorn_that_was_not_tested(monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.setattr("taskbell.gateway.detach.knows_uvicorn", lambda: known)
    assert ("taskbell.W008" in found(deploy=True)) is not known


def test_w008_a_uvicorn_whose_inside_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskbell.gateway.detach", None)
    message = found(deploy=True)["taskbell.W008"]
    assert "cannot use the uvicorn" in message.msg
    assert "taskbell[serve]" in (message.hint or "")


def test_w008_is_silent_without_uvicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.checks.find_spec", lambda name: None)
    monkeypatch.setattr("taskbell.gateway.detach.knows_uvicorn", lambda: False)
    assert "taskbell.W008" not in found(deploy=True)


# W009


@override_settings(ROOT_URLCONF="tests.test_checks")
def test_w009_streams_have_no_address() -> None:
    message = found()["taskbell.W009"]
    assert 'path("events/", include("taskbell.urls.events"))' in (message.hint or "")


@pytest.mark.parametrize("urlconf", ["tests.urls", None])
def test_w009_is_silent(urlconf: str | None) -> None:
    with override_settings(ROOT_URLCONF=urlconf):
        assert "taskbell.W009" not in found()


# E010


@pytest.mark.parametrize("value", ["carrier pigeon", "", "postgres", "http://localhost", 5, None])
def test_e010_a_wakeup_that_cannot_be(value: Any) -> None:
    with override_settings(TASKBELL={"WAKEUP": value}):
        assert "taskbell.E010" in found()


def test_e010_does_not_repeat_a_password() -> None:
    with override_settings(TASKBELL={"WAKEUP": "reddis://:secret@host"}):
        assert "secret" not in str(found())


@pytest.mark.parametrize("value", ["auto", "poll", "redis://localhost/0"])
def test_e010_is_silent(value: str) -> None:
    with override_settings(TASKBELL={"WAKEUP": value}):
        assert found() == {}
