"""How tests publish tasks: by a view or in a shell, and what leaves with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import signals
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from taskbell.middleware import OwnerMiddleware
from tests.runs.telling import waiting

committing = pytest.mark.django_db(transaction=True)


@contextmanager
def published() -> Iterator[list[dict[str, Any]]]:
    """Collect the headers of the messages that leave."""
    seen: list[dict[str, Any]] = []

    def note(headers: dict[str, Any], **kwargs: Any) -> None:
        seen.append(headers)

    signals.after_task_publish.connect(note, weak=False, dispatch_uid="tests.published")
    try:
        yield seen
    finally:
        signals.after_task_publish.disconnect(dispatch_uid="tests.published")


def owners() -> list[str]:
    return [fact["identity"]["user_key"] for fact in waiting()]


def respond(view: Callable[[HttpRequest], Any], user: Any) -> HttpResponse:
    """Answer a request as Django does under WSGI."""
    request = RequestFactory().get("/")
    request.user = user

    def get_response(request: HttpRequest) -> HttpResponse:
        view(request)
        return HttpResponse()

    return OwnerMiddleware(get_response)(request)  # type: ignore[return-value]


class NotAsked:
    """A user that must not be loaded."""

    def __call__(self) -> Any:
        raise AssertionError("the session's user was loaded for a task that nobody is shown")
