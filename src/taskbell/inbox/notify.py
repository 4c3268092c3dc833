"""`notify`: one INSERT for each person, in whatever transaction is open."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID, uuid4

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.utils import translation
from django.utils.functional import Promise

from taskbell import faults
from taskbell.conf import current, resolve
from taskbell.exceptions import InvalidNotification
from taskbell.ground.events import encode_payload
from taskbell.inbox import message
from taskbell.models import Outbox
from taskbell.runs.here import current_run
from taskbell.store.outbox import insert, key_of

NOTIFY: Final = "notify"
NOTIFICATION_EVENT: Final = "notification"

People = AbstractBaseUser | Iterable[AbstractBaseUser]
#: A text, or a lazy translation of one.
Text = str | Promise


def notify(
    to: People,
    title: Text,
    *,
    body: Text = "",
    url: Text = "",
    level: str = "info",
    kind: str = "",
    key: str | None = None,
    run: str | UUID | None = None,
    via: Iterable[str] | None = None,
) -> None:
    """Leave a notification in the inbox of a person, or of each of several, in the transaction that is open.

    A person who has one with this `key` gets no second one. `run` is by default the one that this code works for.
    Raises `InvalidNotification`, or `InvalidChannel` for a user who is not saved, before any SQL.
    """
    people = _people(to)
    fixed = {
        "url": message.check_url(url),
        "level": message.check_level(level),
        "kind": message.check_kind(kind),
        "key": message.check_key(key),
        "run": message.check_run(run),
        "via": message.check_via(via),
    }
    speak = _speaker(title, body)
    insert([_row(user_key, fixed | speak(user)) for user_key, user in people.items()])


async def anotify(to: People, title: Text, **values: Any) -> None:
    """Leave a notification from async code; as `notify`."""
    await sync_to_async(notify)(to, title, **values)


def _people(to: object) -> dict[str, AbstractBaseUser]:
    """Return each person once, by the key of their account."""
    if isinstance(to, get_user_model()):
        return {key_of(to): to}
    if isinstance(to, str) or not isinstance(to, Iterable):
        raise InvalidNotification(f"A notification is for a user object or several, not for {to!r:.60}.")
    people: dict[str, AbstractBaseUser] = {}
    for user in to:
        if not isinstance(user, get_user_model()):
            raise InvalidNotification(f"A notification is for user objects, and {user!r:.60} is none.")
        people[key_of(user)] = user
    return people


def _row(user_key: str, said: dict[str, Any]) -> Outbox:
    payload = said | {"id": str(uuid4()), "run": said["run"] or _run_here(user_key), "at": time.time()}
    return Outbox(kind=NOTIFY, type=NOTIFICATION_EVENT, user_key=user_key, payload=encode_payload(payload))


def _run_here(user_key: str) -> str | None:
    """Return the run that this code works for, if it is this person's: nobody else finds it."""
    here = current_run()
    if here is None or here.identity.user_key != user_key:
        return None
    # A late step of many has no row that stays; the whole has.
    return here.identity.parent if here.identity.is_quiet else here.identity.run


def _speaker(title: Text, body: Text) -> Callable[[AbstractBaseUser], dict[str, str]]:
    """Return what gives title and body as a person is to read them; a translation is made once a language."""
    plain = _texts(title, body)
    hook = resolve(current().LANGUAGE)
    if hook is None or not (isinstance(title, Promise) or isinstance(body, Promise)):
        return lambda user: plain
    said: dict[str | None, dict[str, str]] = {None: plain}

    def speak(user: AbstractBaseUser) -> dict[str, str]:
        language = _language_of(user, hook)
        if language not in said:
            with translation.override(language):
                said[language] = _texts(title, body)
        return said[language]

    return speak


def _texts(title: Text, body: Text) -> dict[str, str]:
    return {"title": message.check_title(title), "body": message.check_body(body)}


def _language_of(user: AbstractBaseUser, hook: Callable[..., Any]) -> str | None:
    """Return a language that this site can speak; None leaves the one that is active here."""
    try:
        language = hook(user)
        return translation.get_supported_language_variant(language) if language else None
    except Exception:
        faults.exception("TASKBELL['LANGUAGE'] gave no language; a notification is in the one that is active.")
        return None
