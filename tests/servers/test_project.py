from collections.abc import Callable

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import override_settings

from tests.servers.project import Project

DATABASES = pytest.mark.parametrize("database", ["sqlite", "postgres"])
COUNT = "from django.contrib.auth.models import User; print(User.objects.count())"


@DATABASES
def test_test_and_subprocess_share_a_migrated_database(project: Callable[[str], Project], database: str) -> None:
    one = project(database)
    one.person("yamkant")
    assert one.run("shell", "--verbosity=0", "-c", COUNT).stdout == "1\n"


@DATABASES
@pytest.mark.parametrize("_again", range(2))
def test_each_project_has_a_database_of_its_own(project: Callable[[str], Project], database: str, _again: int) -> None:
    project(database).person("yamkant")
    assert get_user_model().objects.count() == 1


def test_sqlite_is_set_up_as_the_checks_ask(project: Callable[[str], Project]) -> None:
    project("sqlite")
    with connection.cursor() as cursor:
        assert cursor.execute("pragma journal_mode").fetchone() == ("wal",)
        assert cursor.execute("pragma synchronous").fetchone() == (1,)


def test_signing_in_makes_a_session_of_that_person(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    user = one.person("yamkant")
    cookie = one.sign_in(user)
    session = Session.objects.get(pk=cookie.removeprefix("sessionid="))
    assert session.get_decoded()["_auth_user_id"] == str(user.pk)


def test_settings_reach_the_processes(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    one.configure(PING=5)
    one.configure(POLL=2)
    show = one.run("shell", "--verbosity=0", "-c", "from django.conf import settings; print(settings.TASKBELL)")
    assert show.stdout == "{'STREAMS_PER_PROCESS': 3000, 'PING': 5, 'POLL': 2}\n"


def test_a_started_process_ends_with_its_project(project: Callable[[str], Project]) -> None:
    one = project("sqlite")
    process = one.python("-c", "import time; print('up'); time.sleep(60)")
    process.wait_until(lambda: process.output() == "up\n", what="up")
    one.remove()
    assert not process.alive


@pytest.mark.django_db
def test_the_tests_own_database_is_there_again() -> None:
    assert get_user_model().objects.count() == 0
    with override_settings(TASKBELL={}):
        assert "project" not in str(connection.settings_dict["NAME"])


@pytest.mark.proof
@DATABASES
def test_serve_answers_and_stops(project: Callable[[str], Project], database: str) -> None:
    gateway = project(database).serve()
    assert gateway.status("/readyz") == 200
    assert gateway.stop() == 0
    assert gateway.status("/readyz") == 0


@pytest.mark.proof
def test_the_whole_project_runs_under_uvicorn(project: Callable[[str], Project]) -> None:
    gateway = project("sqlite").uvicorn()
    assert gateway.status("/nowhere/") == 404
