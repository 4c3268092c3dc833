"""What the tests of real gateways have in common: the databases, the two kinds of stream, and what a client read."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from django.db import transaction

from taskbell import publish
from tests.servers.project import Gateway, Project
from tests.servers.sse import Event

Make = Callable[[str], Project]
Start = Callable[..., Gateway]

#: The fastest that settings allow: whole seconds.
QUICK = {"POLL": 1, "PING": 1, "RECHECK": 1, "DRAIN": 1, "STALLED": 2}

DATABASES = pytest.mark.parametrize("database", ["sqlite", "postgres"])
#: Streams over a detached transport, and over the plain `send()` of an ASGI server.
KINDS = pytest.mark.parametrize("start", [Project.serve, Project.uvicorn], ids=["detached", "plain"])

#: Taskbell's own types; everything else is what somebody published.
OWN = {"ping", "reset", "bye"}


def published(events: Iterable[Event]) -> list[Any]:
    """Return the payloads of published events, each id once, as a page handles them."""
    handled: dict[str, Any] = {}
    for event in events:
        if event.type not in OWN:
            handled.setdefault(event.id, event.json)
    return list(handled.values())


def say(*payloads: Any, to: Any = "public:news") -> None:
    """Publish each payload in a transaction of its own."""
    for payload in payloads:
        with transaction.atomic():
            publish(to, "message", payload)


def is_(payload: Any) -> Callable[[Event], bool]:
    """Return the question whether an event is the one with this payload."""
    return lambda event: event.type == "message" and event.json == payload
