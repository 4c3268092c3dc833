"""Workers that tests start, and a stage that the tests of one module share: starting everything takes seconds."""

import gc
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from pytest_django import DjangoDbBlocker

from tests.engines.project import app
from tests.engines.tasks import LISTED
from tests.engines.worker import Owner, Worker, use_broker
from tests.servers.project import Project, Templates
from tests.servers.valkey import Valkey

LEASE = 3


class Stage:
    """A project with its gateway, a worker, and Ada, who reads her stream."""

    def __init__(
        self,
        project: Project,
        broker: str,
        settings: Mapping[str, Any] | None = None,
        celery: Mapping[str, Any] | None = None,
        **worker: Any,
    ) -> None:
        project.configure(**{"TASKS": LISTED, "LEASE": LEASE, **(settings or {})})
        project.env |= {"DJANGO_SETTINGS_MODULE": "tests.engines.settings", "TASKBELL_TEST_BROKER": broker}
        project.env["TASKBELL_TEST_CELERY"] = json.dumps(celery or {})
        self.project = project
        self.gateway = project.serve()
        self.worker = Worker(project, **worker)
        self.ada = Owner(project, self.gateway)

    def close(self) -> None:
        self.ada.close()
        self.worker.kill()


@pytest.fixture(scope="session")
def valkey_of_tasks(session_valkey: Valkey) -> Iterator[Valkey]:
    yield session_valkey
    app.pool.force_close_all()


@pytest.fixture(scope="module")
def broker(valkey_of_tasks: Valkey) -> Iterator[str]:
    address = use_broker(valkey_of_tasks)
    # Other tests of this process have a Celery of their own, and shared tasks go to the one that is current.
    app.set_current()
    app.set_default()
    with override_settings(TASKBELL={"TASKS": LISTED, "LEASE": LEASE}):
        yield address


@pytest.fixture(scope="module")
def results(broker: str) -> Iterator[None]:
    """Whoever applies a chord needs a result backend too."""
    app.conf.result_backend = f"{broker}/1"
    forget_backend()
    yield
    # An AsyncResult that outlives the server fails when it is collected, and the backend itself holds some.
    app.backend._pending_results.concrete.clear()
    gc.collect()
    app.backend.result_consumer.stop()
    app.backend.client.connection_pool.disconnect()
    app.conf.result_backend = "disabled://"
    forget_backend()


def forget_backend() -> None:
    app._local.__dict__.clear()
    app._backend_cache = None


@pytest.fixture(params=["forgetful", "persistent"])
def own_broker(request: pytest.FixtureRequest) -> Iterator[Valkey]:
    """A broker of the test's own, to be killed; a persistent one has every message on disk before it answers."""
    server = Valkey(persistent=request.param == "persistent").start()
    yield server
    server.remove()


@pytest.fixture
def stage(project: Callable[[str], Project], broker: str) -> Iterator[Callable[..., Stage]]:
    """`stage("sqlite", pool="threads")`: everything of its own but the broker, unless that is named too."""
    made: list[Stage] = []

    def make(database: str, *, broker: str = broker, **worker: Any) -> Stage:
        made.append(Stage(project(database), broker, **worker))
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()


OpenStage = Callable[..., AbstractContextManager[Stage]]


@pytest.fixture(scope="module")
def open_stage(
    tmp_path_factory: pytest.TempPathFactory, templates: Templates, django_db_blocker: DjangoDbBlocker, broker: str
) -> OpenStage:
    """`open_stage("sqlite", pool="solo")`: a stage for many tests; at its end every run has been told one ending."""

    @contextmanager
    def opened(database: str, **worker: Any) -> Iterator[Stage]:
        folder: Path = tmp_path_factory.mktemp("shared")
        project = Project(folder, templates.copy(database, folder))
        with django_db_blocker.unblock():
            project.attach()
            try:
                stage = Stage(project, broker, **worker)
                try:
                    yield stage
                    told = stage.ada.endings()
                finally:
                    stage.close()
                assert {run: endings for run, endings in told.items() if len(endings) != 1} == {}
            finally:
                project.remove()
                templates.drop(project.address)

    return opened


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared(request: pytest.FixtureRequest, open_stage: OpenStage) -> Iterator[Stage]:
    with open_stage(request.param, concurrency=3) as stage:
        yield stage
