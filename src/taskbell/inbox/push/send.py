"""One message to one browser: encrypted, signed, and posted to where its push service truly is. Nobody else knows HTTP.

The address comes from a client, so nothing is believed: only public addresses are connected to, those that were just
looked up; no redirect is followed, no proxy and no file of the environment is asked, and no body is read.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from py_vapid import Vapid02
from pywebpush import WebPusher
from yarl import URL

from taskbell.inbox.push.config import Config
from taskbell.inbox.push.endpoint import BadEndpoint, check_endpoint, is_public

# From the look-up of the name to the last byte of the head of the answer.
SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 5.0
# One service that hangs must leave room for the others.
AT_ONCE: Final = 40
AT_ONCE_TO_ONE: Final = 10
# A service knows by it who sends; 24 hours are the most (RFC 8292, 2).
SIGNED_FOR_SECONDS: Final = 43_200
# Connections that are aborted are closed some turns of the loop later.
CLOSING_SECONDS: Final = 0.02
NO_ANSWER: Final = 0
REFUSED: Final = -1

#: A name's IP addresses, as the system knows them; may take long.
Lookup = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What goes where: keys and endpoint of a browser, the text, and what its service is told."""

    endpoint: str
    p256dh: str
    auth: str
    body: bytes
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, NO_ANSWER, or REFUSED by ourselves; `host` may be told to people, the endpoint may not."""

    status: int
    host: str = ""
    retry_after: str = ""


class NotPublic(OSError):
    """The name of a push service has an address within somebody's own network."""


class PublicResolver(AbstractResolver):
    """Answers with addresses of the open internet or not at all; aiohttp connects to what it answers."""

    def __init__(self, lookup: "Lookup | None" = None) -> None:
        self._lookup = lookup or addresses_of

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await _on_a_thread(lambda: self._lookup(host))
        # One that is not public is one too many: who else would have put it there?
        if not found or not all(map(is_public, found)):
            raise NotPublic(f"{host} is not public")
        return [_result(host, address, port) for address in found]

    async def close(self) -> None:
        """Nothing is kept."""


class Post:
    """Sends letters, many at once; `resolver` and `tls` are for tests."""

    def __init__(
        self,
        config: Config,
        resolver: Callable[[], AbstractResolver] = PublicResolver,
        tls: ssl.SSLContext | None = None,
        seconds: float = SECONDS,
    ) -> None:
        self._config = config
        self._resolver = resolver
        self._tls = tls
        self._seconds = seconds
        self._vapid = Vapid02.from_string(config.private_key)

    def send(self, letters: Sequence[Letter], within: float) -> list[Answer]:
        """Send, and return the answers in order, NO_ANSWER where none came within so many seconds."""
        return asyncio.run(self._send_all(letters, within)) if letters else []

    async def _send_all(self, letters: Sequence[Letter], within: float) -> list[Answer]:
        room: dict[str, asyncio.Semaphore] = {}
        connector = aiohttp.TCPConnector(resolver=self._resolver(), ssl=self._tls or True, limit=AT_ONCE)
        opened: set[asyncio.BaseTransport] = set()
        async with aiohttp.ClientSession(
            connector=connector,
            response_class=_noting(opened),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=self._seconds, connect=CONNECT_SECONDS),
        ) as session:
            tasks = [asyncio.create_task(self._send(session, letter, room)) for letter in letters]
            _, late = await asyncio.wait(tasks, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for transport in opened:
            transport.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(CLOSING_SECONDS)
        return [Answer(NO_ANSWER) if task.cancelled() else task.result() for task in tasks]

    async def _send(self, session: aiohttp.ClientSession, letter: Letter, room: dict[str, asyncio.Semaphore]) -> Answer:
        try:
            host = check_endpoint(letter.endpoint, self._config.hosts)
        except BadEndpoint:
            return Answer(REFUSED)
        async with room.setdefault(host, asyncio.Semaphore(AT_ONCE_TO_ONE)):
            try:
                return await self._post(session, letter, host)
            except NotPublic:
                return Answer(REFUSED, host)
            except aiohttp.ClientConnectorDNSError as error:
                return Answer(REFUSED if isinstance(error.os_error, NotPublic) else NO_ANSWER, host)
            # Whatever an answer that is none looks like: one letter's trouble must not be another's.
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                return Answer(NO_ANSWER, host)

    async def _post(self, session: aiohttp.ClientSession, letter: Letter, host: str) -> Answer:
        keys = {"p256dh": letter.p256dh, "auth": letter.auth}
        sealed = WebPusher({"endpoint": letter.endpoint, "keys": keys}).encode(letter.body, "aes128gcm")["body"]
        headers = {
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "User-Agent": "taskbell",
            **letter.headers,
            **self._signature(f"https://{host}"),
        }
        # As it was given: escaped anew, it would be another address.
        where = URL(letter.endpoint, encoded=True)
        async with session.post(where, data=sealed, headers=headers, allow_redirects=False) as response:
            return Answer(response.status, host, response.headers.get("Retry-After", ""))

    def _signature(self, audience: str) -> dict[str, str]:
        expires = int(time.time()) + SIGNED_FOR_SECONDS
        signed: dict[str, Any] = self._vapid.sign({"aud": audience, "exp": expires, "sub": self._config.contact})
        return {name: str(value) for name, value in signed.items()}


def _noting(opened: set[asyncio.BaseTransport]) -> type[aiohttp.ClientResponse]:
    """Return a class of responses that note their connections.

    One over TLS whose peer hangs says goodbye for half a minute, and is nobody's when the loop has ended before.
    """

    class Noting(aiohttp.ClientResponse):
        async def start(self, connection: Any) -> aiohttp.ClientResponse:
            if connection.transport is not None:
                opened.add(connection.transport)
            return await super().start(connection)

    return Noting


def addresses_of(host: str) -> list[str]:
    """Return a name's addresses, as the system knows them."""
    found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


async def _on_a_thread(ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Ask on a thread that may hang: a pool's would be waited for when the loop ends."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[str]] = loop.create_future()

    def tell(outcome: Callable[[], None]) -> None:
        # Nobody waits any more, or the loop has ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if answer.done() else outcome())

    def run() -> None:
        try:
            found = ask()
        except OSError as error:
            told = error
            tell(lambda: answer.set_exception(told))
        else:
            tell(lambda: answer.set_result(found))

    threading.Thread(target=run, name="taskbell-push-lookup", daemon=True).start()
    return await answer
