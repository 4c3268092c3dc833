"""The people and servers that tests ask for by name; the classes behind the servers are in tests/servers."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.contrib.auth import get_user_model
from pytest_django import DjangoDbBlocker
from selenium.webdriver import Chrome

from taskbell import faults
from tests.servers.browser import chromium
from tests.servers.postgres import Postgres
from tests.servers.process import Unavailable
from tests.servers.project import Project, Templates
from tests.servers.valkey import Valkey

# Two shared cores: a slow example says nothing about the code.
hypothesis.settings.register_profile("taskbell", deadline=None)
hypothesis.settings.load_profile("taskbell")


@pytest.fixture(autouse=True)
def _every_fault_is_new() -> None:
    """What one test was told, the next one is told at once too."""
    faults.forget()


def missing(what: Unavailable) -> Any:
    """Skip with a line that says why; in CI fail, because there everything can be installed."""
    if os.environ.get("CI"):
        pytest.fail(str(what))
    pytest.skip(str(what))


@pytest.fixture
def ada() -> Any:
    return get_user_model().objects.create(username="ada")


@pytest.fixture
def bob() -> Any:
    return get_user_model().objects.create(username="bob")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL shared by the tests of one worker; a test that stops or kills a server starts its own `Postgres`."""
    try:
        server = Postgres().start()
    except Unavailable as error:
        missing(error)
    yield server
    server.remove()


@pytest.fixture(scope="session")
def session_valkey() -> Iterator[Valkey]:
    try:
        server = Valkey().start()
    except Unavailable as error:
        missing(error)
    yield server
    server.remove()


@pytest.fixture
def valkey(session_valkey: Valkey) -> Iterator[Valkey]:
    """A Valkey that answers; the test may stop, start, pause and resume it."""
    yield session_valkey
    session_valkey.restore()


@pytest.fixture(scope="session")
def templates(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Templates:
    return Templates(tmp_path_factory.mktemp("templates"), lambda: request.getfixturevalue("postgres"))


@pytest.fixture
def project(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[[str], Project]]:
    """`project("sqlite")` or `project("postgres")`: a migrated database of its own and the processes around it.

    The test's own process works on that database too, so the test wants no `django_db` mark.
    """
    projects: list[Project] = []

    def make(database: str) -> Project:
        folder: Path = tmp_path_factory.mktemp("project")
        project = Project(folder, templates.copy(database, folder))
        projects.append(project)
        project.attach()
        return project

    with django_db_blocker.unblock():
        try:
            yield make
        finally:
            for made in reversed(projects):
                made.remove()
                templates.drop(made.address)


@pytest.fixture
def browser() -> Iterator[Chrome]:
    """A Chromium of its own, with no cookie and nothing open; mark the test `browser`."""
    try:
        with chromium() as browser:
            yield browser
    except Unavailable as error:
        missing(error)
