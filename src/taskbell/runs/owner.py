"""For whom a task runs: the request's user, or who was named by `for_user`.

The middleware keeps the request and not the user, because token authentication sets the user later, in the view.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty

from taskbell.conf import current, resolve
from taskbell.store.outbox import key_of

_NOBODY: Final = object()
_UNWRITTEN: Final = "_taskbell_unwritten"
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


def await_before_response() -> None:
    """Note that this request told something which is not written yet, and whose answer must not come before it."""
    if (request := _request.get()) is not None:
        setattr(request, _UNWRITTEN, True)


def has_unwritten(request: HttpRequest) -> bool:
    """Tell whether `await_before_response` was called for this request."""
    return getattr(request, _UNWRITTEN, False)


@contextmanager
def for_user(user: AbstractBaseUser | None) -> Iterator[None]:
    """Let what is enqueued inside belong to `user` (None: to nobody), in shells, beat and commands."""
    key = key_of(user) if user is not None else None
    token = _named.set(key)
    try:
        yield
    finally:
        _named.reset(token)


def owner_key(inherited: str | None = None) -> str | None:
    """Return the key of the person for whom work is enqueued right now, or None.

    `for_user` comes first, then the running task's owner (`inherited`), then the request's user.
    """
    named = _named.get()
    if named is not _NOBODY:
        return str(named) if named is not None else None
    if inherited is not None:
        return inherited
    request = _request.get()
    return _outside_loop(_key_of_request, request) if request is not None else None


def known_owner_key(inherited: str | None = None) -> str | None:
    """Return the same, or None where that would have to be looked up: no session is read, and no hook is called."""
    named = _named.get()
    if named is not _NOBODY or inherited is not None:
        return owner_key(inherited)
    request = _request.get()
    return _key_if_loaded(request) if request is not None and not current().OWNER else None


def _key_if_loaded(request: HttpRequest) -> str | None:
    # Under ASGI `request.auser()` keeps the user beside `request.user`, which stays unloaded.
    user = getattr(request, "_acached_user", None) or getattr(request, "user", None)
    if isinstance(user, LazyObject) and user._wrapped is empty:
        return None
    return _key_if_signed_in(user)


def _key_of_request(request: HttpRequest) -> str | None:
    hook = resolve(current().OWNER)
    user = hook(request) if hook else getattr(request, "user", None)
    return _key_if_signed_in(user)


def _key_if_signed_in(user: Any) -> str | None:
    return key_of(user) if user is not None and user.is_authenticated else None


def _outside_loop(read: Callable[[HttpRequest], str | None], request: HttpRequest) -> str | None:
    """Read in a thread when called in an event loop, where Django refuses to load the session's user.

    The loop waits meanwhile, as it does for the broker in the same `delay()`.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return read(request)
    context = copy_context()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(context.run, _and_close, read, request).result()


def _and_close(read: Callable[[HttpRequest], str | None], request: HttpRequest) -> str | None:
    try:
        return read(request)
    finally:
        connections.close_all()
