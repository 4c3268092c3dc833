"""Notifications between the outbox, their table and JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from taskbell.ground.events import encode_payload
from taskbell.inbox import message
from taskbell.models import Notification, Outbox
from taskbell.runs.rows import iso
from taskbell.store.clock import moment

SEEN: Final = "seen"
# A page shows as many; the event that tells of them stays small.
MOST_IDS: Final = 100
# What reading an outbox row raises that somebody else wrote.
UNREADABLE: Final = (ValueError, TypeError, KeyError, OverflowError)


@dataclass(frozen=True, slots=True)
class Mark:
    """That a person has seen, or read, these notifications, or all that there were."""

    ids: tuple[UUID, ...] = ()
    all: bool = False
    read: bool = False


def to_notification(row: Outbox) -> Notification:
    """Return what an outbox row of `notify` says; raises one of `UNREADABLE` on one that is none."""
    values = json.loads(row.payload)
    return Notification(
        id=UUID(str(values["id"])),
        title=message.check_title(values["title"]),
        body=message.check_body(values["body"]),
        url=message.check_url(values["url"]),
        level=message.check_level(values["level"]),
        kind=message.check_kind(values["kind"]),
        key=message.check_key(values["key"]),
        run=UUID(str(values["run"])) if values["run"] else None,
        via=" ".join(message.check_via(values["via"])),
        created_at=moment(values["at"]),
    )


def to_mark(row: Outbox) -> Mark:
    """Return what an outbox row of `seen` says, as `to_notification`."""
    values = json.loads(row.payload)
    return Mark(tuple(UUID(str(id)) for id in values["ids"][:MOST_IDS]), bool(values["all"]), bool(values["read"]))


def from_mark(mark: Mark, user_key: str) -> Outbox:
    """Return the outbox row of a mark."""
    payload = {"ids": [str(id) for id in mark.ids], "all": mark.all, "read": mark.read}
    return Outbox(kind=SEEN, type=SEEN, user_key=user_key, payload=encode_payload(payload))


def to_json(row: Notification) -> dict[str, Any]:
    """Return the data of the event `notification`."""
    return {
        "id": str(row.id),
        "title": row.title,
        "body": row.body,
        "url": row.url,
        "level": row.level,
        "kind": row.kind,
        "run": str(row.run) if row.run else None,
        "at": iso(row.created_at.timestamp()),
    }


def to_listed_json(row: Notification) -> dict[str, Any]:
    """Return the same with what its person has done with it."""
    return to_json(row) | {"seen": row.seen_at is not None, "read": row.read_at is not None}


def seen_json(mark: Mark, changed: Sequence[UUID], unread: int) -> dict[str, Any]:
    """Return the data of the event `seen`: `changed` is empty where `all` says it."""
    told: dict[str, Any] = {"ids": [str(id) for id in changed], "read": mark.read, "unread": unread}
    return told | {"all": True} if mark.all else told
