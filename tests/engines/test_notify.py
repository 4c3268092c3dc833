"""Notifications from a real worker and from views, as their person's browser gets them."""

import json
from typing import Any

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from taskbell import notify
from tests.engines import tasks
from tests.engines.conftest import Stage
from tests.servers.sse import Event

pytestmark = [pytest.mark.proof, pytest.mark.urls(__name__)]


@transaction.atomic
def order(request: HttpRequest, fate: str) -> HttpResponse:
    notify(request.user, f"Your order is {fate}")
    if fate == "rolled back":
        raise RuntimeError("after it was said")
    return HttpResponse()


urlpatterns = [path("order/<str:fate>/", order), path("taskbell/", include("taskbell.urls.api"))]


def titles(events: list[Event]) -> list[str]:
    return [json.loads(event.data)["title"] for event in events if event.type == "notification"]


def test_a_task_that_is_tried_again_notifies_once(shared: Stage) -> None:
    with shared.gateway.stream(cookie=shared.project.sign_in(shared.ada.user), timeout=60) as stream:
        stream.read()
        task = shared.ada.delay(tasks.notify_at_every_attempt, "ada")

        def is_done(event: Event) -> bool:
            return event.type == "run" and json.loads(event.data)["state"] == "succeeded"

        events = stream.until(is_done)
    run = shared.ada.ending(task)
    assert run["attempt"] == 3
    told = [json.loads(event.data) for event in events if event.type == "notification"]
    assert [(one["title"], one["level"], one["run"]) for one in told] == [
        ("Your report is ready", "success", run["id"])
    ]


def test_a_view_that_is_rolled_back_notifies_nobody(shared: Stage) -> None:
    client: Any = Client(raise_request_exception=False)
    client.force_login(shared.ada.user)
    with shared.gateway.stream(cookie=shared.project.sign_in(shared.ada.user), timeout=60) as stream:
        stream.read()
        assert client.get("/order/rolled back/").status_code == 500
        assert client.get("/order/on its way/").status_code == 200
        assert titles(stream.until("notification")) == ["Your order is on its way"]
    listed = client.get("/taskbell/notifications/").json()["notifications"]
    assert "Your order is rolled back" not in [one["title"] for one in listed]
