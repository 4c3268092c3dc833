"""A client of Server-Sent Events over a bare socket. It shares no line with Taskbell, so it can contradict it.

The parser follows the WHATWG HTML standard, section 9.2.6, to the letter, but for one thing: bytes that are not UTF-8
raise, where a browser would show a replacement character, because a server of ours must never send them.
"""

import codecs
import json
import re
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

LINE_END = re.compile("\r\n|\n|\r")


class Ended(Exception):
    """The server closed the stream in order: after the last chunk, or where the body ends with the connection."""


class Cut(Exception):
    """The connection broke in the middle of a response."""


@dataclass(frozen=True)
class Event:
    type: str
    data: str
    id: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Parser:
    """Turns the bytes of an event stream into events; it may be fed in pieces of any size."""

    def __init__(self) -> None:
        self.last_event_id = ""
        self.retry: int | None = None
        self.comments: list[str] = []
        self._decode = codecs.getincrementaldecoder("utf-8")("strict").decode
        self._text = ""
        self._started = False
        self._after_cr = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        self._text += self._decode(data)
        if self._text and not self._started:
            self._started = True
            self._text = self._text.removeprefix("\ufeff")
        events = (self._line(line) for line in self._lines())
        return [event for event in events if event is not None]

    def _lines(self) -> Iterator[str]:
        # A CR at the end of a piece completes its line, although an LF that belongs to it may still be on its way.
        if self._after_cr and self._text:
            self._text = self._text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = self._text.endswith("\r") or (self._after_cr and not self._text)
        *lines, self._text = LINE_END.split(self._text)
        yield from lines

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "":
                self.comments.append(value)
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        self.last_event_id = self._id
        lines, kind = self._data, self._type
        self._data, self._type = [], ""
        # The standard asks for an empty data buffer, and one `data` line without text leaves a line feed in it.
        if not lines:
            return None
        return Event(type=kind or "message", data="\n".join(lines), id=self.last_event_id)


class Chunks:
    """Takes the chunks of HTTP/1.1 apart, strictly."""

    def __init__(self) -> None:
        self.ended = False
        self._raw = b""

    def feed(self, data: bytes) -> bytes:
        """Return the part of the body that `data` brings."""
        self._raw += data
        body = []
        while not self.ended:
            size, found, rest = self._raw.partition(b"\r\n")
            if not found:
                break
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            if rest[length : length + 2] != b"\r\n":
                raise ValueError(f"a chunk of {length} bytes is not followed by CRLF but {rest[length : length + 2]!r}")
            body.append(rest[:length])
            self._raw = rest[length + 2 :]
            self.ended = length == 0
        if self.ended and self._raw:
            raise ValueError(f"bytes after the last chunk: {self._raw[:80]!r}")
        return b"".join(body)


class Stream:
    """One request and its response.

    `pace` is how many bytes a second it reads at most; `receive_buffer` is the size of the kernel's buffer, set before
    connecting, without which the kernel reads megabytes ahead of a slow reader. Reading nothing is: not calling.
    """

    PIECE = 65_536

    def __init__(
        self,
        port: int,
        path: str = "/events/",
        *,
        cookie: str = "",
        last_event_id: str = "",
        headers: dict[str, str] | None = None,
        method: str = "GET",
        body: bytes = b"",
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
        pace: int | None = None,
        record: bool = False,
        timeout: float = 10,
    ) -> None:
        self.pace = pace
        self.timeout = timeout
        self.parser = Parser()
        #: The id of the last event that was read from here; others may have arrived.
        self.last_event_id = ""
        #: Every byte of the body so far, when asked to `record`.
        self.raw = bytearray()
        self._record = record
        self._events: deque[Event] = deque()
        self._chunks: Chunks | None = None
        self._remaining: int | None = None
        self._connect(host, port, receive_buffer)
        fields = {"Host": f"{host}:{port}", "Accept": "text/event-stream"}
        if cookie:
            fields["Cookie"] = cookie
        if last_event_id:
            fields["Last-Event-ID"] = last_event_id
        try:
            self._request(method, path, fields | (headers or {}), body)
            self._head()
        except BaseException:
            self.close()
            raise

    def _connect(self, host: str, port: int, receive_buffer: int | None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(self.timeout)
        try:
            self.socket.connect((host, port))
        except BaseException:
            self.socket.close()
            raise

    def _request(self, method: str, path: str, fields: dict[str, str], body: bytes) -> None:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode("latin-1") + body)

    def _head(self) -> None:
        head = b""
        deadline = time.monotonic() + self.timeout
        while b"\r\n\r\n" not in head:
            data = self._receive(deadline)
            if not data:
                raise Cut(f"closed before the end of the head: {head!r}")
            head += data
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        #: Names in lower case; of a repeated field all values, joined by a comma and a space.
        self.headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunks = Chunks()
        elif "content-length" in self.headers:
            self._remaining = int(self.headers["content-length"])
        self._pending = body

    def read(self, timeout: float | None = None) -> Event:
        """Return the next event; `TimeoutError`, `Ended` or `Cut` when there is none."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not self._events:
            self._events.extend(self.parser.feed(self._body(deadline)))
        event = self._events.popleft()
        self.last_event_id = event.id
        return event

    def take(self, count: int, *, type: str | None = None, timeout: float | None = None) -> list[Event]:
        """Return the next `count` events, only those of one `type` if it is given."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        taken: list[Event] = []
        while len(taken) < count:
            event = self.read(deadline - time.monotonic())
            if type in (None, event.type):
                taken.append(event)
        return taken

    def until(self, wanted: str | Callable[[Event], bool], timeout: float | None = None) -> list[Event]:
        """Return all events up to and including the first of a type, or the first that a function wants."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        seen: list[Event] = []
        while True:
            event = self.read(deadline - time.monotonic())
            seen.append(event)
            if event.type == wanted if isinstance(wanted, str) else wanted(event):
                return seen

    def rest(self, timeout: float | None = None) -> list[Event]:
        """Return all events until the server ends the stream in order."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        seen: list[Event] = []
        while True:
            try:
                seen.append(self.read(deadline - time.monotonic()))
            except Ended:
                return seen

    def silence(self, seconds: float) -> None:
        """Fail if an event comes within `seconds`; pings do not count."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self.read(deadline - time.monotonic())
            except TimeoutError:
                return
            assert event.type == "ping", f"expected silence, and read {event}"

    def text(self, timeout: float | None = None) -> str:
        """Return the whole body of a response that is not a stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        body = b""
        while True:
            try:
                body += self._body(deadline)
            except Ended:
                return body.decode()

    @property
    def retry(self) -> int | None:
        return self.parser.retry

    def _body(self, deadline: float) -> bytes:
        if self._remaining == 0 or (self._chunks and self._chunks.ended):
            raise Ended
        data, self._pending = self._pending or self._receive(deadline), b""
        if not data:
            if self._chunks or self._remaining:
                raise Cut("closed in the middle of the body")
            raise Ended
        if self._chunks:
            data = self._chunks.feed(data)
        elif self._remaining is not None:
            data = data[: self._remaining]
            self._remaining -= len(data)
        if self._record:
            self.raw += data
        return data

    def _receive(self, deadline: float) -> bytes:
        piece = self.PIECE
        if self.pace is not None:
            piece = max(1, self.pace // 20)
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(piece)
        except ConnectionError as error:
            raise Cut(str(error)) from error
        if self.pace is not None:
            time.sleep(len(data) / self.pace)
        return data

    def close(self) -> None:
        """Close in order, as a page does that is left."""
        self.socket.close()

    def abort(self) -> None:
        """Close by a reset, as a machine does that lost its power and came back."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """Iterate until the stream ends in order; each event has the whole time-out for itself."""
        while True:
            try:
                yield self.read()
            except Ended:
                return
