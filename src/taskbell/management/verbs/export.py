import json
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django.core.management.base import OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.db import router
from django.db.models import QuerySet

from taskbell.ground.events import recipient_channel
from taskbell.management.people import Person, add_person, named
from taskbell.management.verbs.base import Verb
from taskbell.models import Log, Notification, Outbox, PushSubscription, Run
from taskbell.runs.read import RunView
from taskbell.runs.rows import to_run
from taskbell.store.people import forgotten_upto, recipient_of

# Rows that are in memory at a time.
CHUNK_ROWS: Final = 500
# The address of whoever has none.
NOBODY: Final = UUID(int=0)
NOTIFICATION: Final = ("id", "title", "body", "url", "level", "kind", "run", "created_at", "seen_at", "read_at")

Part = tuple[str, Iterable[dict[str, Any]]]


class Export(Verb):
    help = "Print everything that is kept of a person, as one JSON object."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_person(parser)

    def run(self, out: OutputWrapper, *, user: str, key: bool, **options: Any) -> int:
        for piece in pieces(named(user, is_key=key), router.db_for_read(Run)):
            out.write(piece, ending="")
        out.write("")
        return 0


def pieces(person: Person, alias: str) -> Iterator[str]:
    """Yield the JSON piece by piece, so that a person with a million rows needs no more memory than one with ten."""
    recipient = recipient_of(person.key, alias)
    name = person.account.get_username() if person.account is not None else None
    yield f'{{"person": {_json({"key": person.key, "name": name, "recipient": recipient})}'
    for title, items in [*_kept(recipient, alias), ("waiting", _waiting(person.key, alias))]:
        yield f',\n"{title}": ['
        for number, item in enumerate(items):
            yield f"{',' if number else ''}\n {_json(item)}"
        yield "]"
    yield "}"


def _kept(recipient: UUID | None, alias: str) -> Iterator[Part]:
    recipient = recipient or NOBODY
    runs = Run.objects.using(alias).filter(recipient=recipient).order_by("queued_at")
    yield "runs", (_run(row) for row in _each(runs))
    notifications = Notification.objects.using(alias).filter(recipient=recipient).order_by("created_at")
    yield "notifications", _each(notifications.values(*NOTIFICATION))
    browsers = PushSubscription.objects.using(alias).filter(recipient=recipient).order_by("created_at")
    yield "push_subscriptions", (_browser(row) for row in _each(browsers))
    events = Log.objects.using(alias).filter(channel=recipient_channel(recipient)).order_by("seq")
    yield "events", (_event(row) for row in _each(events))


def _waiting(user_key: str, alias: str) -> Iterator[dict[str, Any]]:
    rows = Outbox.objects.using(alias).filter(user_key=user_key, id__gt=forgotten_upto(user_key, alias))
    for row in _each(rows.order_by("id")):
        told = {"kind": row.kind, "type": row.type, "data": json.loads(row.payload)}
        yield told | {"created_at": row.created_at, "failed_at": row.failed_at}


def _run(row: Run) -> dict[str, Any]:
    return {**RunView(to_run(row)).as_json(), "engine": row.engine, "expires_at": row.expires_at}


def _browser(row: PushSubscription) -> dict[str, Any]:
    # Whoever knows the rest of its address can send to it.
    return {"id": row.id, "service": urlsplit(row.endpoint).hostname, "created_at": row.created_at}


def _event(row: Log) -> dict[str, Any]:
    return {"seq": row.seq, "type": row.type, "data": json.loads(row.payload), "at": row.sequenced_at}


def _each(rows: QuerySet[Any, Any]) -> Iterator[Any]:
    return rows.iterator(chunk_size=CHUNK_ROWS)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder)


verb = Export()
