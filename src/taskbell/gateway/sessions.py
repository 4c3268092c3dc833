"""Whose a session is. Sessions are only read: nobody here could send a browser its new cookie."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.http import HttpRequest
from django.utils import timezone

#: What is stored in sessions, by their keys.
Stored = Mapping[str, Mapping[str, Any]]


def session_user(key: str | None, stored: Stored) -> Any | None:
    """Return whom Django takes the session's user for; a session that is not among `stored` is read now."""
    if not key or not _can_be_asked_for(key):
        return None
    request = HttpRequest()
    request.session = _ReadSession(stored[key] if key in stored else _engine()(key).load())  # type: ignore[assignment]
    return get_user(request)


def stored_sessions(keys: Iterable[str]) -> Stored:
    """Return those of these sessions that one query finds, which takes Django's own engine that keeps them as rows.

    They are what the engine would read for each. Of the others nothing is known but that they have to be read alone.
    """
    if _engine() is not DatabaseStore:
        return {}
    stores = {key: DatabaseStore(key) for key in keys if _can_be_asked_for(key)}
    wanted = [key for key, store in stores.items() if store.session_key == key]  # None where it is no key to Django
    if not wanted:
        return {}
    rows = DatabaseStore.get_model_class().objects.filter(session_key__in=wanted, expire_date__gt=timezone.now())
    # A database may find a key in other case: that is another one to us.
    return {row.session_key: stores[row.session_key].decode(row.session_data) for row in rows if row.pk in stores}


class _ReadSession(dict[str, Any]):
    """A session that is only read. `get_user` renews one signed by an old key and flushes one that does not fit;
    here nobody could send the browser its new cookie, so that would sign people out."""

    def cycle_key(self) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


def _engine() -> type[SessionBase]:
    return import_module(settings.SESSION_ENGINE).SessionStore  # type: ignore[no-any-return]


def _can_be_asked_for(key: str) -> bool:
    return "\0" not in key  # PostgreSQL raises for NUL in any text
