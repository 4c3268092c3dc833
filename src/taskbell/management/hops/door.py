"""The way from the outside: the address that browsers use, asked as a browser asks."""

import http.client
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

from taskbell.management.hops.finding import Finding
from taskbell.management.hops.here import CLOCK_ADVICE, CLOCK_SECONDS

# A browser would wait longer, a person not.
ANSWER_SECONDS: Final = 5.0
# Anybody may read it, and nobody else knows its name.
CHANNEL: Final = "public:taskbell-doctor-"
# What every browser offers, so that a proxy that compresses does so here too.
OFFERED: Final = "gzip, deflate, br, zstd"
PIECE: Final = 65_536
SHUT: Final = "Sign in first."
OK, UNAUTHORIZED = 200, 401

ADVICE: Final = {
    400: "Is this host in ALLOWED_HOSTS, and does the proxy pass it on (`proxy_set_header Host $http_host`)?",
    404: "Is this the address in your urls.py, and does the proxy send it to the gateway with its whole path?",
    502: "The proxy reaches no gateway: is one running where it looks?",
    503: "The gateway lets nobody in now: its database is away, a limit is reached, or it is stopping.",
    504: "The proxy waits for a gateway that does not answer: is it frozen?",
}


class Shut(Exception):
    """The way ends here; holds the finding that says so."""

    def __init__(self, hop: str, text: str, advice: str) -> None:
        super().__init__(text)
        self.finding = Finding("FAIL", hop, text, advice)


class Door:
    """The address of the streams as a browser uses it, with its prefix: `https://mysite.example/events/`."""

    def __init__(self, url: str) -> None:
        self.url = url if url.endswith("/") else f"{url}/"
        self._parts = urlsplit(self.url)

    def knock(self) -> Iterator[Finding]:
        """Ask for a stream of one's own without being signed in: a short answer, that only a gateway gives.

        Raises `Shut` if it is another.
        """
        began = time.monotonic()
        with self._asked("door", self._parts.path) as response:
            text = "" if _is_stream(response) else response.read(PIECE).decode("utf-8", "replace").strip()
            # With AUTHENTICATE a stream may open without a session.
            is_gateway = (response.status == OK and _is_stream(response)) or (response.status, text) == (
                UNAUTHORIZED,
                SHUT,
            )
            if not is_gateway:
                raise Shut("door", *_refusal(response, text))
            yield Finding("ok", "door", f"a gateway answers at {self.url} ({_ms(began)})")
            if apart := _clock_difference(response):
                yield Finding("look", "clock", f"the gateway's is {apart:.0f} s from ours", CLOCK_ADVICE)

    def enter(self, cookie: str) -> Iterator[Finding]:
        """Ask for one's own stream with the cookie of somebody who is signed in; raise `Shut` if it does not open."""
        began = time.monotonic()
        with self._asked("session", self._parts.path, cookie) as response:
            if response.status != OK:
                said = "" if _is_stream(response) else response.read(PIECE).decode("utf-8", "replace").strip()
                text, advice = _refusal(response, said)
                raise Shut("session", text, STRANGER if response.status == UNAUTHORIZED else advice)
            if not OpenStream(response, "").hears(b"event: ping", ANSWER_SECONDS):
                raise Shut("session", "one's own stream opens, but its first bytes do not come", GATHERED)
            yield Finding("ok", "session", f"one's own stream opens ({_ms(began)})")

    @contextmanager
    def open(self) -> Iterator["OpenStream"]:
        """Open a stream that nobody else reads; raise `Shut` where it would not work in a browser."""
        channel = CHANNEL + secrets.token_hex(8)
        began = time.monotonic()
        with self._asked("stream", f"{self._parts.path}{channel}/") as response:
            if response.status != OK:
                raise Shut("stream", *_refusal(response, ""))
            if encoding := response.headers.get("Content-Encoding"):
                advice = "Take text/event-stream out of what the proxy or a middleware compresses (nginx: `gzip off`)."
                raise Shut("stream", f"it comes compressed ({encoding}), which gathers events", advice)
            if not _is_stream(response):
                raise Shut("stream", f"it is {response.headers.get('Content-Type')}, no stream", ADVICE[404])
            stream = OpenStream(response, channel)
            if not stream.hears(b"event: ping", ANSWER_SECONDS):
                raise Shut("stream", "it opens, but its first bytes do not come", GATHERED)
            stream.took = _ms(began)
            yield stream

    @contextmanager
    def _asked(self, hop: str, path: str, cookie: str = "") -> Iterator[http.client.HTTPResponse]:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=ANSWER_SECONDS)
        try:
            headers = {"Accept": "text/event-stream", "Accept-Encoding": OFFERED, "Cookie": cookie}
            connection.request("GET", path, headers={name: value for name, value in headers.items() if value})
            yield connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise Shut(hop, *_failure(error, self.url, hop)) from error
        finally:
            connection.close()


class OpenStream:
    """A stream that the doctor reads."""

    def __init__(self, response: http.client.HTTPResponse, channel: str) -> None:
        self.channel = channel
        self.took = ""
        self._response = response
        self._read = b""

    def hears(self, wanted: bytes, seconds: float) -> bool:
        """Read until these bytes came; False if they did not in time, or the stream ended before."""
        deadline = time.monotonic() + seconds
        while wanted not in self._read:
            try:
                # Pings come meanwhile, so silence is not all that is bounded.
                piece = self._response.read1(PIECE) if time.monotonic() < deadline else b""
            except OSError:  # silence, or cut
                piece = b""
            if not piece:
                return False
            self._read += piece
        return True


GATHERED: Final = "Something between gathers it (nginx: `proxy_buffering off`, and X-Accel-Buffering not ignored)."


STRANGER: Final = (
    "The gateway does not know a session made here: have both the same SECRET_KEY, SESSION_ENGINE and database or "
    "cache, and does the proxy pass cookies on?"
)


def _is_stream(response: http.client.HTTPResponse) -> bool:
    return response.headers.get_content_type() == "text/event-stream"


def _refusal(response: http.client.HTTPResponse, text: str) -> tuple[str, str]:
    if 300 <= response.status < 400:
        where = urlsplit(response.headers.get("Location", ""))
        target = f"{where.scheme}://{where.netloc}{where.path}" if where.netloc else where.path
        return f"it sends to {target} (HTTP {response.status})", "Give the address where browsers end up: --url"
    # What a gateway says is one sentence; an error page of somebody else says nothing here.
    said = f": {text}" if text and len(text) < 100 and "<" not in text else ""
    advice = ADVICE.get(response.status, "This is not a gateway's answer: who else answers at this address?")
    return f"HTTP {response.status}{said}", advice


def _failure(error: Exception, url: str, hop: str) -> tuple[str, str]:
    if isinstance(error, ssl.SSLError):
        return f"TLS with {url} fails: {error.reason}", "Is the certificate valid for this name, with its chain?"
    if isinstance(error, socket.gaierror):
        return f"the name in {url} is not known", "Is --url spelled right, and is the name in the DNS?"
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {url}", "Start a gateway (manage.py taskbell serve), or the proxy before it."
    if isinstance(error, TimeoutError) and hop == "stream":
        return "short answers come, but a stream does not begin", GATHERED
    if isinstance(error, TimeoutError):
        advice = "Is the gateway frozen, or a firewall between?"
        return f"no answer from {url} within {ANSWER_SECONDS:g} s", advice
    return f"{url}: {error.__class__.__name__} {error}", "Does a gateway, or a proxy before one, speak HTTP there?"


def _clock_difference(response: http.client.HTTPResponse) -> float:
    try:
        apart = abs(parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
    return apart if apart > CLOCK_SECONDS else 0.0


def _ms(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
