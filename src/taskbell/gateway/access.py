"""Who may read what. Denied by default; the same answers at connect and at every later check."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import InterfaceError, OperationalError, router
from django.http import HttpRequest

from taskbell import faults
from taskbell.conf import current, resolve
from taskbell.gateway.sessions import Stored, session_user, stored_sessions
from taskbell.ground.events import PUBLIC_NAMESPACE, RESERVED_NAMESPACES, is_channel, namespace, recipient_channel
from taskbell.models import Recipient
from taskbell.store.control import ACTIVITY_CHANNEL
from taskbell.store.outbox import key_of
from taskbell.store.people import create, recipients_of

UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
UNAVAILABLE: Final = 503

#: Recipients by the keys of their accounts, as `recipients_of` returns them.
Recipients = Mapping[str, UUID | None]


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
    return _decide(caller, wish, user_of(caller, {}), {})


def open_to_anybody(wish: Wish) -> Grant | None:
    """Return what a wish for public channels alone opens. Nobody asks who wishes, and the stream is no person's."""
    channels = wish.channels or ((wish.name,) if wish.name else ())
    if not channels or not all(is_channel(channel) and namespace(channel) == PUBLIC_NAMESPACE for channel in channels):
        return None
    return Grant(channels, None, wish, NOBODY)


def still_granted(grants: Iterable[Grant]) -> list[bool]:
    """Ask again for each grant; raises while the database is away, and then nobody has said no.

    The answers are those of `authorize`. What it would read for each is read for all, as far as that is the same, and
    in the same order: recipients last, or an account could be given that of another who had its key before.
    """
    grants = list(grants)
    asked = [grant for grant in dict.fromkeys(grants) if not is_public(grant.channels)]
    sessions = stored_sessions(grant.caller.session_key for grant in asked if grant.caller.session_key)
    users = {caller: user_of(caller, sessions) for caller in dict.fromkeys(grant.caller for grant in asked)}
    people = {grant.person for grant in asked if grant.person is not None and grant.wish.own}
    recipients = recipients_of(people, router.db_for_write(Recipient))
    held = {grant for grant in asked if _decide(grant.caller, grant.wish, users[grant.caller], recipients) == grant}
    return [is_public(grant.channels) or grant in held for grant in grants]


def is_public(channels: Iterable[str]) -> bool:
    """Tell whether anybody may read all of these channels."""
    return all(namespace(channel) == PUBLIC_NAMESPACE for channel in channels)


def has_account(person: str | None) -> bool:
    """Tell whether the account of this key is there and active; true of nobody in particular."""
    if person is None:
        return True
    found = get_user_model()._base_manager.filter(pk=person).first()
    return found is not None and bool(found.is_active)


def user_of(caller: Caller, sessions: Stored) -> Any | None:
    """Return the signed-in, active user, by AUTHENTICATE or else by the session, one of those already read or not."""
    authenticate = resolve(current().AUTHENTICATE)
    user = _ask(authenticate, caller.request) if authenticate else session_user(caller.session_key, sessions)
    return user if user is not None and user.is_authenticated and user.is_active else None


def _decide(caller: Caller, wish: Wish, user: Any | None, recipients: Recipients) -> Grant | Refusal:
    channels = _channels(user, wish, recipients)
    if isinstance(channels, Refusal):
        return channels
    return Grant(channels, key_of(user) if user else None, wish, caller)


def _channels(user: Any | None, wish: Wish, recipients: Recipients) -> tuple[str, ...] | Refusal:
    if wish.own:
        if user is None:
            return Refusal(UNAUTHORIZED)
        if wish.name is not None and wish.name != user.get_username():
            return Refusal(NOT_FOUND)
        try:
            return (recipient_channel(recipients.get(key_of(user)) or recipient_of(user)),)
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
