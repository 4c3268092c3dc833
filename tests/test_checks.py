"""Every check both ways: silent on a project that is fine, and telling one that is not what to type."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core import checks
from django.core.checks import CheckMessage
from django.db import connections
from django.test import override_settings

from taskbell import conf
from taskbell.checks import KINDS, MAY_BE_ZERO, TAG
from taskbell.gateway.files import BESIDE_STREAMS
from taskbell.inbox.push.config import configured
from tests.servers.project import Project, environment

# This module is also a URLconf without streams.
urlpatterns: list[Any] = []


class Router:
    """Sends the tables of Taskbell to another database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "events" if model._meta.app_label == "taskbell" else None


def found(*, deploy: bool = False) -> dict[str, CheckMessage]:
    messages = checks.run_checks(tags=[TAG], include_deployment_checks=deploy)
    assert all(message.hint for message in messages), "a check says what is wrong, and not what to type"
    return {message.id or "": message for message in messages}


def hook(*args: Any) -> bool:
    return True


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


# E003 to W006


@pytest.mark.parametrize("value", [None, [], "PING=5", ("PING", 5), 5])
def test_e003_taskbell_is_no_dict(value: Any) -> None:
    with override_settings(TASKBELL=value):
        assert set(found()) == {"taskbell.E003"}


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("STREAM_PER_PERSON", "'STREAMS_PER_PERSON'"),
        ("ping", "'PING'"),
        ("XYZZY", "The keys are TASKS"),
        (7, "The keys are TASKS"),
    ],
)
def test_e004_unknown_key(key: Any, hint: str) -> None:
    with override_settings(TASKBELL={key: 1}):
        message = found()["taskbell.E004"]
    assert isinstance(message, checks.Error)
    assert hint in (message.hint or "")


NUMBERS = [name for name, kinds in KINDS.items() if kinds == (int,)]


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("value", ["20", 20.0, None, True, [20]])
def test_e005_a_number_is_whole(key: str, value: Any) -> None:
    with override_settings(TASKBELL={key: value}):
        message = found(deploy=True)["taskbell.E005"]
    assert message.msg.startswith(f"TASKBELL['{key}'] is ")
    assert message.msg.endswith(", not a whole number.")
    assert message.hint == conf.HELP[key]


@pytest.mark.parametrize("key", NUMBERS)
def test_e005_a_number_is_not_negative_and_rarely_zero(key: str) -> None:
    with override_settings(TASKBELL={key: -1}):
        assert "taskbell.E005" in found()
    with override_settings(TASKBELL={key: 0}):
        assert ("taskbell.E005" in found()) is (key not in MAY_BE_ZERO)
    with override_settings(TASKBELL={key: conf.DEFAULTS[key] + 1}):
        assert found() == {}


@pytest.mark.parametrize("key", ["AUTHORIZE", "AUTHENTICATE"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (5, "is a whole number, not a callable or a string or None"),
        ("no.such.module", "names nothing that can be imported: No module named 'no'"),
        ("tests.test_checks.nothing", "does not define"),
        ("rules", "names nothing that can be imported"),
        ("tests.test_checks.NUMBERS", "which cannot be called"),
    ],
)
def test_e005_a_hook_can_be_called(key: str, value: Any, told: str) -> None:
    with override_settings(TASKBELL={key: value}):
        assert told in found()["taskbell.E005"].msg


@pytest.mark.parametrize("key", ["AUTHORIZE", "AUTHENTICATE"])
@pytest.mark.parametrize("value", [None, hook, "tests.test_checks.hook"])
def test_e005_is_silent_about_a_hook_that_can(key: str, value: Any) -> None:
    with override_settings(TASKBELL={key: value}):
        assert found() == {}


@pytest.mark.parametrize("value", ["10.0.0.1", ["10.0.0.300"], ["proxy.internal"], [5], [None]])
def test_e005_proxies_are_a_list_of_networks(value: Any) -> None:
    with override_settings(TASKBELL={"TRUSTED_PROXIES": value}):
        assert "taskbell.E005" in found()


@pytest.mark.parametrize("value", [[], ("10.0.0.1",), ["10.0.0.0/8", "::1", "10.1.2.3/8"]])
def test_e005_is_silent_about_networks(value: Any) -> None:
    with override_settings(TASKBELL={"TRUSTED_PROXIES": value}):
        assert found() == {}


@pytest.mark.parametrize("seconds", [1, 4, 46, 3600])
def test_w006_pings_that_help_nobody(seconds: int) -> None:
    with override_settings(TASKBELL={"PING": seconds}):
        message = found()["taskbell.W006"]
    assert isinstance(message, checks.Warning)


@pytest.mark.parametrize("seconds", [5, 20, 45])
def test_w006_is_silent_about_the_rest(seconds: int) -> None:
    with override_settings(TASKBELL={"PING": seconds}):
        assert found() == {}


def test_all_mistakes_are_told_at_once() -> None:
    with override_settings(TASKBELL={"PNG": 5, "POLL": 0, "PING": 60, "WAKEUP": "carrier pigeon"}):
        assert set(found()) == {"taskbell.E004", "taskbell.E005", "taskbell.W006", "taskbell.E010"}


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


# E020 to W022

PUSH = {"PRIVATE_KEY": "LW8rnYpZ1V3Jx5fGcYwJ3mO2z0m5oQn5u0n1m7cW2ZQ", "CONTACT": "mailto:ann@example.com"}


@pytest.fixture
def api() -> Iterator[None]:
    with override_settings(ROOT_URLCONF="tests.browser.urls"):
        yield


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"PRIVATE_KEY": None}, "wants a 'PRIVATE_KEY'"),
        ({"PRIVATE_KEY": ""}, "wants a 'PRIVATE_KEY'"),
        ({"PRIVATE_KEY": b"x"}, "wants a 'PRIVATE_KEY'"),
        ({"PRIVATE_KEY": "secret"}, "has a 'PRIVATE_KEY' that is none"),
        ({"PRIVATE_KEY": "A" * 43}, "has a 'PRIVATE_KEY' that is none"),  # zero
        ({"PRIVATE_KEY": "_" * 42 + "8"}, "has a 'PRIVATE_KEY' that is none"),  # over the curve's order
        ({"PRIVATE_KEY": "/nowhere/secret"}, "cannot be read: No such file or directory"),
        ({"PRIVATE_KEY": "/dev/zero"}, "has a 'PRIVATE_KEY' that is none"),
        ({"CONTACT": None}, "wants a 'CONTACT'"),
        ({"CONTACT": "ann@example.com"}, "wants a 'CONTACT'"),
        ({"CONTACT": "mailto:ann@localhost"}, "wants a 'CONTACT'"),
        ({"CONTACT": "https://example.com/contact"}, "wants a 'CONTACT'"),
        ({"HOSTS": "push.example.com"}, "wants 'HOSTS' to be a list"),
        ({"HOSTS": ["127.0.0.1"]}, "wants 'HOSTS' to be a list"),
        ({"HOSTS": ["https://push.example.com/"]}, "wants 'HOSTS' to be a list"),
        ({"PRIVAT_KEY": "x"}, "has no key 'PRIVAT_KEY'"),
    ],
)
def test_e020_web_push_that_cannot_be_sent(changes: dict[str, Any], told: str) -> None:
    with override_settings(TASKBELL={"PUSH": PUSH | changes}):
        message = found()["taskbell.E020"]
        assert configured() is None
    assert isinstance(message, checks.Error)
    assert told in message.msg
    assert "vapid-keys" in (message.hint or "")
    assert "secret" not in message.msg
    assert PUSH["PRIVATE_KEY"] not in str(message)


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize(
    "changes",
    [{}, {"CONTACT": "https://example.com"}, {"HOSTS": []}, {"HOSTS": ("push.example.com", "*.push.example.com")}],
)
def test_e020_is_silent_about_what_can(changes: dict[str, Any]) -> None:
    with override_settings(TASKBELL={"PUSH": PUSH | changes}):
        assert found() == {}
        assert configured() is not None


@pytest.mark.usefixtures("api")
def test_a_key_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "vapid"
    file.write_text(PUSH["PRIVATE_KEY"] + "\n")
    with override_settings(TASKBELL={"PUSH": PUSH | {"PRIVATE_KEY": str(file)}}):
        assert found() == {}
        config = configured()
    with override_settings(TASKBELL={"PUSH": PUSH}):
        assert configured() == config
    assert PUSH["PRIVATE_KEY"] not in repr(config)


@pytest.mark.parametrize("value", [PUSH, None, [], "x", 5, {5: 5}])
def test_no_text_of_the_settings_shows_a_secret(value: Any) -> None:
    with override_settings(TASKBELL={"PUSH": value, "SIGNING_KEY": "the signing key"}):
        assert PUSH["PRIVATE_KEY"] not in repr(conf.current())
        assert "the signing key" not in repr(conf.current())
        assert PUSH["PRIVATE_KEY"] not in str(found())


@pytest.mark.usefixtures("api")
def test_e021_without_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskbell.inbox.push.config.find_spec", lambda name: None)
    with override_settings(TASKBELL={"PUSH": PUSH}):
        message = found()["taskbell.E021"]
        assert configured() is None
    assert message.hint == "pip install 'taskbell[push]'"


def test_w022_no_address_to_subscribe_at() -> None:
    with override_settings(TASKBELL={"PUSH": PUSH}, ROOT_URLCONF="tests.urls"):
        assert 'path("taskbell/", include("taskbell.urls.api"))' in (found()["taskbell.W022"].hint or "")
    with override_settings(TASKBELL={}, ROOT_URLCONF="tests.urls"):
        assert "taskbell.W022" not in found()
