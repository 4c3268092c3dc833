"""A push service, a person with browsers, and a pusher that goes by way of the loopback."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from taskbell.inbox.push.keys import new_private
from tests.inbox.push.stage import Stage
from tests.servers.push import PushService, push_service

CONTACT = "mailto:ann@example.com"


@pytest.fixture(scope="session")
def session_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushService]:
    with push_service(tmp_path_factory.mktemp("push")) as service:
        yield service


@pytest.fixture
def service(session_service: PushService) -> PushService:
    session_service.received.clear()
    return session_service


@pytest.fixture
def push() -> Iterator[dict[str, Any]]:
    """Web Push is configured."""
    written = {"PRIVATE_KEY": new_private(), "CONTACT": CONTACT, "HOSTS": ["push.example.com"]}
    with override_settings(TASKBELL={"PUSH": written}):
        yield written


@pytest.fixture
def stage(service: PushService, push: dict[str, Any], db: None) -> Stage:
    return Stage(service)
