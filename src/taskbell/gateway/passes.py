"""Passes: a browser that was let in by its session comes back to its own stream without a look at the database.

A pass is a signed cookie for the streams' path. It holds for one session and for what was known of access when it was
given: whoever is named by a newer control event, or comes from before what this gateway knows, is asked about again.
"""

import hmac
import time
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self
from urllib.parse import quote, unquote

from django.conf import settings
from django.utils.encoding import force_bytes

from taskbell.conf import current
from taskbell.gateway.access import Grant
from taskbell.gateway.control import Newest
from taskbell.gateway.hub import Hub
from taskbell.gateway.request import PASS_COOKIE, StreamRequest
from taskbell.ground.cursor import Cursor
from taskbell.store.control import session_name

VERSION: Final = "1"
SALT: Final = "taskbell.gateway.passes"
# It outlives a stream of the greatest age, and the way back.
AGES_OF_A_STREAM: Final = 1.2
WAY_BACK_SECONDS: Final = 300
# So far may the clocks of two gateways be apart.
CLOCKS_APART: Final = 60


@dataclass(frozen=True, slots=True)
class Pass:
    """Who may open their own stream by which session, as of the head of a log; `name` is the alias that they used."""

    log_id: str
    head: int
    given_at: int
    session: str
    channel: str
    person: str
    name: str

    def __str__(self) -> str:
        fields = (VERSION, self.log_id, self.head, self.given_at, self.session, self.channel, self.person, self.name)
        text = "/".join(quote(str(field), safe=":") for field in fields)
        return f"{text}/{_signature(text, settings.SECRET_KEY)}"

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return the pass that a cookie is, None if it is not signed by us or of another version."""
        signed, _, signature = text.rpartition("/")
        if not signature.isascii() or not signed.startswith(f"{VERSION}/"):
            return None
        secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
        if not any(hmac.compare_digest(signature, _signature(signed, secret)) for secret in secrets):
            return None
        fields = signed.split("/")
        _, log_id, head, given_at, *others = map(unquote, fields) if "%" in signed else fields
        return cls(log_id, int(head), int(given_at), *others)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A grant, the number of the log as of which it holds, and for a new pass the cookie to set."""

    grant: Grant
    known: int
    session: str
    cookie: bytes | None = None


class Passes:
    """Gives passes out, and lets in who has one."""

    def __init__(self, hub: Hub, newest: Newest) -> None:
        self.hub = hub
        self.newest = newest

    def admit(self, asked: StreamRequest) -> Admitted | None:
        """Return what the pass of this request opens, None where the session has to be read."""
        key = asked.caller.session_key
        if asked.pass_text is None or key is None or not asked.wish.own:
            return None
        shown, session = Pass.read(asked.pass_text), session_name(key)
        if shown is None or shown.session != session or shown.name != (asked.wish.name or ""):
            return None
        if not self._holds(shown):
            return None
        return Admitted(Grant((shown.channel,), shown.person, asked.wish, asked.caller), shown.head, session)

    def after_session(self, asked: StreamRequest, grant: Grant, place: Cursor, path: str) -> Admitted:
        """Return who was let in by a session that was read after `place`, with a new pass for the own stream."""
        key = asked.caller.session_key
        session = session_name(key) if key is not None else ""
        if key is None or grant.person is None or not asked.wish.own:
            return Admitted(grant, place.seq, session)
        given = Pass(
            place.log_id,
            place.seq,
            int(time.time()),
            session,
            grant.channels[0],
            grant.person,
            asked.wish.name or "",
        )
        return Admitted(grant, place.seq, session, _cookie(given, path))

    def _holds(self, shown: Pass) -> bool:
        place = self.hub.position
        if place is None or not self.hub.is_current or shown.log_id != place.log_id or shown.head > place.seq:
            return False
        age = time.time() - shown.given_at
        return -CLOCKS_APART <= age <= lifetime() and shown.head >= self.newest.of(shown.person, shown.session)


def _signature(text: str, secret: str | bytes) -> str:
    signing = _keyed(secret).copy()
    signing.update(text.encode())
    return signing.hexdigest()


@lru_cache
def _keyed(secret: str | bytes) -> hmac.HMAC:
    """Return what signs with a key for passes alone, as `django.utils.crypto.salted_hmac` derives it.

    Kept, since thousands return at once; and `hmac.digest` would hand the interpreter to another thread each time.
    """
    return hmac.new(sha256(SALT.encode() + force_bytes(secret)).digest(), digestmod=sha256)


def lifetime() -> int:
    """Return for how many seconds a pass holds."""
    return int(AGES_OF_A_STREAM * current().STREAM_AGE) + WAY_BACK_SECONDS


def _cookie(given: Pass, path: str) -> bytes:
    same_site = settings.SESSION_COOKIE_SAMESITE or "Lax"
    secure = "; Secure" if settings.SESSION_COOKIE_SECURE else ""
    text = f"{PASS_COOKIE}={given}; Path={path}; Max-Age={lifetime()}; HttpOnly; SameSite={same_site}{secure}"
    return text.encode("latin-1")
