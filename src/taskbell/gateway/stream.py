"""The stream endpoint, one ASGI app: parse, authorise, subscribe, write.

`send()` carries it under any ASGI server. Where the server offers *detach* (gateway/server.py) the socket is taken
over after the headers, and nothing of the request stays in memory.
"""

import asyncio
import random
from typing import Any, Final

from django.db import InterfaceError, OperationalError

from taskbell.conf import current
from taskbell.counts import count
from taskbell.gateway.access import NOT_FOUND, UNAUTHORIZED, UNAVAILABLE, Grant, Refusal, authorize, open_to_anybody
from taskbell.gateway.address import client_address
from taskbell.gateway.answer import answer
from taskbell.gateway.control import Control
from taskbell.gateway.hub import Hub
from taskbell.gateway.life import Life
from taskbell.gateway.limits import Limits, Seat
from taskbell.gateway.passes import Admitted, Passes
from taskbell.gateway.pool import Pool
from taskbell.gateway.request import Rejected, StreamRequest, read_request
from taskbell.gateway.wire import DETACH, DetachedStream, Headers, PlainStream, Stream
from taskbell.ground.cursor import Cursor
from taskbell.ground.sse import CONTENT_TYPE
from taskbell.store.people import ACCOUNT_HEADER, account_name

# A second gateway may know newer numbers; after this many polls a cursor above ours is not the future but forged.
POLLS_TO_WAIT: Final = 2
ACCOUNT: Final = ACCOUNT_HEADER.lower().encode()
REFUSALS: Final = {
    UNAUTHORIZED: "Sign in first.",
    NOT_FOUND: "No such stream.",
    UNAVAILABLE: "The account that had this key before is being forgotten.",
}


class StreamEndpoint:
    """Answers stream requests; `stopping` makes it refuse new ones."""

    def __init__(self, hub: Hub, limits: Limits, life: Life, pool: Pool, control: Control) -> None:
        self.hub = hub
        self.limits = limits
        self.life = life
        self.pool = pool
        self.recheck = control.recheck
        self.newest = control.newest
        self.passes = Passes(hub, control.newest)
        self.stopping = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any, name: str, prefix: str) -> None:
        """Serve one request; `name` is what stands in the path after the prefix, which is as browsers see it."""
        try:
            await self._serve(scope, receive, send, name, prefix)
        except Rejected as rejected:
            count("requests_total", str(rejected.status))
            await _tell(send, rejected)

    def answer_at_once(self, scope: dict[str, Any], name: str) -> bool:
        """Open a stream for which nothing has to be waited for; False where `__call__` is to answer, or to refuse."""
        try:
            asked = read_request(scope, name)
            address = client_address(scope)
            with self.limits.seat(address) as seat:
                admitted = self._admit(asked) if self._is_there(asked.cursor) else None
                if admitted is None:
                    return False
                self._detach(scope, asked, admitted, address, seat)
        except Rejected:
            return False
        return True

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any, name: str, prefix: str) -> None:
        asked = read_request(scope, name)
        address = client_address(scope)
        self._check_stopping()
        with self.limits.seat(address) as seat:
            await self._wait_for_position()
            admitted = self._admit(asked) or await self._by_session(asked, prefix)
            await self._wait_for_cursor(asked)
            if DETACH in scope.get("extensions", {}):
                self._detach(scope, asked, admitted, address, seat)
            else:
                headers = self._headers(asked, admitted)
                plain = PlainStream(admitted.grant, address, self.hub, send)
                seat.keep()
                self._join(plain, asked, admitted)
                await plain.run(receive, headers)

    def _detach(
        self, scope: dict[str, Any], asked: StreamRequest, admitted: Admitted, address: str, seat: Seat
    ) -> None:
        headers = self._headers(asked, admitted)
        stream = DetachedStream(admitted.grant, address, self.hub)
        head = scope["extensions"][DETACH](headers, stream)
        if head is None:
            raise Rejected(400, "A stream takes its connection: one GET of a path, and nothing after it.")
        seat.keep()
        self._join(stream, asked, admitted, head)

    def _headers(self, asked: StreamRequest, admitted: Admitted) -> Headers:
        """Look a last time whether this stream may be opened, and return the head of its response."""
        self._check_stopping()
        self._check_session(admitted)
        headers = response_headers(asked, admitted.grant.person)
        if admitted.cookie is not None:
            headers.append((b"set-cookie", admitted.cookie))
        return headers

    def _admit(self, asked: StreamRequest) -> Admitted | None:
        """Return whom nobody has to ask about: everybody on public channels, and whoever has a pass."""
        grant = open_to_anybody(asked.wish)
        return Admitted(grant, 0, "") if grant is not None else self.passes.admit(asked)

    def _check_stopping(self) -> None:
        if self.stopping:
            raise Rejected(503, "This gateway is stopping.")

    async def _by_session(self, asked: StreamRequest, prefix: str) -> Admitted:
        place = self.hub.position  # whatever happens to this person after it is told to us later
        assert place is not None
        return self.passes.after_session(asked, await self._grant(asked), place, prefix)

    async def _grant(self, asked: StreamRequest) -> Grant:
        try:
            found = await self.pool.run(authorize, asked.caller, asked.wish)
        except (OperationalError, InterfaceError) as error:
            raise Rejected(503, "The database cannot be reached right now.") from error
        if isinstance(found, Refusal):
            raise Rejected(found.status, REFUSALS[found.status])
        return found

    async def _wait_for_position(self) -> None:
        if not await self.hub.reaches(0, POLLS_TO_WAIT * current().POLL):
            raise Rejected(503, "The log cannot be read right now.")

    def _is_there(self, cursor: Cursor | None) -> bool:
        """Tell whether the hub is where the browser already was."""
        place = self.hub.position
        return place is not None and (cursor is None or not self.hub.knows(cursor) or cursor.seq <= place.seq)

    async def _wait_for_cursor(self, asked: StreamRequest) -> None:
        """Wait until the hub is where the browser already was."""
        if asked.cursor is not None and not self._is_there(asked.cursor):
            await self.hub.reaches(asked.cursor.seq, POLLS_TO_WAIT * current().POLL)

    def _check_session(self, admitted: Admitted) -> None:
        """Refuse a session that has ended, though it was still in store: Django says so before it throws it away."""
        if admitted.grant.person is not None and self.newest.has_ended(admitted.session):
            raise Rejected(401, "Sign in first.")

    def _join(self, stream: Stream, asked: StreamRequest, admitted: Admitted, head: bytes = b"") -> None:
        stream.ends_at = asyncio.get_running_loop().time() + current().STREAM_AGE * random.uniform(0.8, 1.2)
        count("requests_total", "200")
        self.limits.enter(stream, self.hub)
        self.life.enter(stream)
        self.hub.join(stream, asked.cursor, "unknown" if asked.unknown_cursor else None, head)
        person = admitted.grant.person
        if person is not None and self.newest.of(person, admitted.session) > admitted.known:
            self.recheck.soon([stream])  # told while the session was read


async def _tell(send: Any, rejected: Rejected) -> None:
    try:
        await answer(send, rejected.status, rejected.reason)
    except Exception:  # noqa: BLE001
        pass  # however a server says that the client is gone, or that it has refused the rest of the request itself


def response_headers(asked: StreamRequest, person: str | None) -> Headers:
    """Return the head of a stream's response, the same whoever serves it."""
    headers = [
        (b"content-type", CONTENT_TYPE),
        (b"cache-control", b"no-store, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
        (b"vary", b"Cookie, Origin"),
    ]
    if person is not None:
        headers.append((ACCOUNT, account_name(person).encode()))
    if asked.origin is not None:
        headers += [
            (b"access-control-allow-origin", asked.origin.encode("latin-1")),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", ACCOUNT),
        ]
    return headers
