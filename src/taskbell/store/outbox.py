"""Publishing: one INSERT in whatever transaction is open, and a flag raised after its commit."""

from collections.abc import Iterable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction

from taskbell.exceptions import InvalidChannel
from taskbell.ground.events import Event, check_channel, check_type, encode_payload
from taskbell.models import KEY_LENGTH, Outbox
from taskbell.wakeups.bell import ring_soon

EVENT: Final = "event"
# Rows of one INSERT: SQLite before 3.32 takes 999 parameters, a row has 11.
BATCH_ROWS: Final = 80


def publish(to: AbstractBaseUser | str, type: str, payload: Any) -> None:
    """Publish one event to a person or a channel, in the transaction that is open.

    `to` is a saved user object or a channel such as `"public:news"`; `payload` is anything Django's
    JSON encoder writes, 64 KiB at most. Raises a subclass of `InvalidEvent` before any SQL.
    """
    insert([_row(make_event(to, type, payload))])


def publish_many(events: Iterable[tuple[AbstractBaseUser | str, str, Any]]) -> None:
    """Publish `(to, type, payload)` events in this order; all are checked before the first INSERT."""
    insert([_row(make_event(*event)) for event in events])


async def apublish(to: AbstractBaseUser | str, type: str, payload: Any) -> None:
    """Publish one event from async code; as `publish`."""
    await sync_to_async(publish)(to, type, payload)


def make_event(to: AbstractBaseUser | str, type: str, payload: Any) -> Event:
    """Return the checked event, or raise a subclass of `InvalidEvent`."""
    type, text = check_type(type), encode_payload(payload)
    if isinstance(to, get_user_model()):
        return Event(type=type, payload=text, user_key=key_of(to))
    return Event(type=type, payload=text, channel=check_channel(to))


def key_of(user: AbstractBaseUser) -> str:
    """Return the text that names an account in our tables: its primary key."""
    if user.pk is None:
        raise InvalidChannel("This user is not saved yet, so nobody could read the event. Save it first.")
    key = str(user.pk)
    if len(key) > KEY_LENGTH:
        raise InvalidChannel(f"The primary key of this user is over {KEY_LENGTH} characters as text.")
    return key


def insert(rows: list[Outbox]) -> None:
    """Put rows into the outbox on the alias that the project's router gives, and ring once they are committed."""
    if not rows:
        return
    alias = router.db_for_write(Outbox)
    Outbox.objects.using(alias).bulk_create(rows, batch_size=BATCH_ROWS)
    ring_after_commit(alias)


def ring_after_commit(alias: str) -> None:
    """Have the wakeup rung when the open transaction is committed."""
    connection = transaction.get_connection(alias)
    if connection.get_autocommit() or connection.in_atomic_block:
        transaction.on_commit(lambda: ring_soon(alias), using=alias, robust=True)
    else:  # a project that commits by hand: Django cannot tell us when, and a ring is only a hint
        ring_soon(alias)


def _row(event: Event) -> Outbox:
    return Outbox(kind=EVENT, channel=event.channel, user_key=event.user_key, type=event.type, payload=event.payload)
