"""For whom a task runs: the request's user, or who was named by `for_user`.

The middleware keeps the request and not the user, because token authentication sets the user later, in the view.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from taskbell.conf import current, resolve
from taskbell.store.outbox import key_of

_NOBODY: Final = object()
_request: ContextVar[HttpRequest | None] = ContextVar("taskbell_request", default=None)
_named: ContextVar[Any] = ContextVar("taskbell_owner", default=_NOBODY)


@contextmanager
def in_request(request: HttpRequest) -> Iterator[None]:
    """Let what is enqueued inside belong to this request's user."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def for_user(user: AbstractBaseUser | None) -> Iterator[None]:
    """Let what is enqueued inside belong to `user` (None: to nobody), in shells, beat and commands."""
    key = key_of(user) if user is not None else None
    token = _named.set(key)
    try:
        yield
    finally:
        _named.reset(token)


def owner_key() -> str | None:
    """Return the key of the person for whom work is enqueued right now, or None."""
    named = _named.get()
    if named is not _NOBODY:
        return str(named) if named is not None else None
    request = _request.get()
    return _key_of_request(request) if request is not None else None


def _key_of_request(request: HttpRequest) -> str | None:
    hook = resolve(current().OWNER)
    user = hook(request) if hook else getattr(request, "user", None)
    return key_of(user) if user is not None and user.is_authenticated else None
