from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.gateway.requests.stage import Stage, prepare
from tests.servers.project import Project, Templates


@pytest.fixture(scope="module")
def stage(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    templates: Templates,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Stage]:
    """A gateway of the kind that the test names as the fixture's parameter."""
    folder = tmp_path_factory.mktemp("project")
    with django_db_blocker.unblock():
        project = prepare(Project(folder, templates.copy("sqlite", folder)))
        stage = Stage(request.param, project)
        try:
            yield stage
        finally:
            stage.remove()
            project.remove()
