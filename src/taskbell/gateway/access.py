"""Who may read what. Denied by default; the same answers at connect and at every later check."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user, get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError, router
from django.http import HttpRequest

from taskbell import faults
from taskbell.conf import current, resolve
from taskbell.ground.events import PUBLIC_NAMESPACE, RESERVED_NAMESPACES, is_channel, namespace
from taskbell.models import Recipient
from taskbell.store.control import ACTIVITY_CHANNEL
from taskbell.store.outbox import key_of
from taskbell.store.people import create, recipients_of

UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
UNAVAILABLE: Final = 503


class Leaving(Exception):
    """The account that had this key before is being forgotten; try again in a moment."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the key of a session, or, where AUTHENTICATE decides, the request itself."""

    session_key: str | None = None
    request: HttpRequest | None = None


NOBODY: Final = Caller()


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: one name (a channel or the own user name), several channels, or nothing: the own stream."""

    name: str | None = None
    channels: tuple[str, ...] = ()

    @property
    def own(self) -> bool:
        """True for the signed-in person's own stream, by no name or by their user name."""
        return not self.channels and (self.name is None or ":" not in self.name)


#: One for all: every open stream keeps its wish.
OWN: Final = Wish()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a stream may read. It is small, because every open stream keeps one to be asked again."""

    channels: tuple[str, ...]
    person: str | None
    wish: Wish
    caller: Caller


@dataclass(frozen=True, slots=True)
class Refusal:
    """The HTTP status that says no: 401 without a person, 404 for unknown and forbidden alike, 503 for not yet."""

    status: int


def authorize(caller: Caller, wish: Wish) -> Grant | Refusal:
    """Decide about a request. It reads the session, so it is called on a thread that may use the database."""
    if (grant := open_to_anybody(wish)) is not None:
        return grant
    user = user_of(caller)
    channels = _channels(user, wish)
    if isinstance(channels, Refusal):
        return channels
    return Grant(channels, key_of(user) if user else None, wish, caller)


def open_to_anybody(wish: Wish) -> Grant | None:
    """Return what a wish for public channels alone opens. Nobody asks who wishes, and the stream is no person's."""
    channels = wish.channels or ((wish.name,) if wish.name else ())
    if not channels or not all(is_channel(channel) and namespace(channel) == PUBLIC_NAMESPACE for channel in channels):
        return None
    return Grant(channels, None, wish, NOBODY)


def still_granted(grants: Iterable[Grant]) -> list[bool]:
    """Ask again for each grant; raises while the database is away, and then nobody has said no."""
    return [_still_granted(grant) for grant in grants]


def is_public(channels: Iterable[str]) -> bool:
    """Tell whether anybody may read all of these channels."""
    return all(namespace(channel) == PUBLIC_NAMESPACE for channel in channels)


def has_account(person: str | None) -> bool:
    """Tell whether the account of this key is there and active; true of nobody in particular."""
    if person is None:
        return True
    found = get_user_model()._base_manager.filter(pk=person).first()
    return found is not None and bool(found.is_active)


def user_of(caller: Caller) -> Any | None:
    """Return the signed-in, active user, by AUTHENTICATE or else by the session."""
    authenticate = resolve(current().AUTHENTICATE)
    user = _ask(authenticate, caller.request) if authenticate else _session_user(caller.session_key)
    return user if user is not None and user.is_authenticated and user.is_active else None


def _session_user(session_key: str | None) -> Any:
    if not session_key or "\0" in session_key:  # PostgreSQL raises for NUL in any text
        return None
    request = HttpRequest()
    stored = import_module(settings.SESSION_ENGINE).SessionStore(session_key).load()
    request.session = _ReadSession(stored)  # type: ignore[assignment]
    return get_user(request)


class _ReadSession(dict[str, Any]):
    """A session that is only read. `get_user` renews one signed by an old key and flushes one that does not fit;
    here nobody could send the browser its new cookie, so that would sign people out."""

    def cycle_key(self) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


def _channels(user: Any | None, wish: Wish) -> tuple[str, ...] | Refusal:
    if wish.own:
        if user is None:
            return Refusal(UNAUTHORIZED)
        if wish.name is not None and wish.name != user.get_username():
            return Refusal(NOT_FOUND)
        try:
            return (f"user:{recipient_of(user)}",)
        except Leaving:
            return Refusal(UNAVAILABLE)
    channels = wish.channels or (wish.name or "",)
    return channels if all(may_read(user, channel) for channel in channels) else Refusal(NOT_FOUND)


def may_read(user: Any | None, channel: str) -> bool:
    """Tell whether this user (None: nobody signed in) may read a channel that a request named."""
    if channel == ACTIVITY_CHANNEL:
        return is_staff(user)
    if not is_channel(channel) or namespace(channel) in RESERVED_NAMESPACES:
        return False
    if namespace(channel) == PUBLIC_NAMESPACE:
        return True
    authorize_hook = resolve(current().AUTHORIZE)
    if authorize_hook is None:
        return False
    return bool(_ask(authorize_hook, user if user is not None else AnonymousUser(), channel))


def is_staff(user: Any | None) -> bool:
    """Tell whether this user may see any of our pages in the admin; what is there is for each page to say."""
    return bool(getattr(user, "is_staff", False)) and user.has_module_perms("taskbell")  # type: ignore[union-attr]


def recipient_of(user: Any) -> UUID:
    """Return the recipient of an account, creating it in a transaction of its own.

    Raises `Leaving` for a moment: while the tick has yet to take it from the account that had the same key before.
    """
    alias, key = router.db_for_write(Recipient), key_of(user)
    known = recipients_of([key], alias)
    if key not in known:
        create([key], alias)
        known = recipients_of([key], alias)
    if (recipient := known.get(key)) is None:
        raise Leaving
    return recipient


def _ask(hook: Callable[..., Any], *args: Any) -> Any:
    """Call a hook of the project; one that raises, or is a coroutine function, says no."""
    try:
        answer = hook(*args)
    except (OperationalError, InterfaceError):
        raise  # the database's trouble, for which nobody is shut out
    except Exception:
        faults.exception("The hook %s raised; access is refused.", hook, about=repr(hook))
        return None
    if inspect.iscoroutine(answer):
        answer.close()
        faults.error("The hook %s is a coroutine function; write a plain function. Access is refused.", hook)
        return None
    return answer


def _still_granted(grant: Grant) -> bool:
    if is_public(grant.channels):
        return True
    again = authorize(grant.caller, grant.wish)
    return isinstance(again, Grant) and again.channels == grant.channels and again.person == grant.person
