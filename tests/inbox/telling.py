"""What tests of inboxes say and hear."""

import json
from typing import Any
from uuid import UUID

from taskbell.inbox.read import mark
from taskbell.inbox.rows import Mark
from taskbell.models import Log, Notification
from taskbell.testing import deliver

Event = tuple[str, dict[str, Any]]


def heard() -> list[Event]:
    """Tick, and return type and data of what was numbered by that."""
    before = Log.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
    deliver()
    rows = Log.objects.filter(seq__gt=before).order_by("seq").values_list("type", "payload")
    return [(type, json.loads(payload)) for type, payload in rows]


def titles(events: list[Event]) -> list[str]:
    return [data["title"] for type, data in events if type == "notification"]


def row(title: str) -> Notification:
    return Notification.objects.get(title=title)


def see(user: Any, *ids: UUID) -> int:
    return mark(user, Mark(ids))


def read(user: Any, *ids: UUID) -> int:
    return mark(user, Mark(ids, read=True))


SEE_ALL = Mark(all=True)
READ_ALL = Mark(all=True, read=True)
