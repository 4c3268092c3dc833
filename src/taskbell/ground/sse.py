"""Events as bytes of Server-Sent Events (WHATWG HTML 9.2). Pure: values in, bytes out.

Everything written here is ASCII without line ends: types and payloads by `events`, cursors by `cursor`.
So one event is always `id`, `event` and one `data` line, and nobody can forge a second.
"""

from typing import Final, Literal

from taskbell.ground.cursor import Cursor

ResetReason = Literal["expired", "rewritten", "unknown", "too_much"]
ByeReason = Literal["age", "drain", "limit", "signed_out", "stalled"]

CONTENT_TYPE: Final = b"text/event-stream; charset=utf-8"
RETRY_MS: Final = 2000
# The type of the word that something happened, for the pages of staff.
ACTIVITY: Final = "activity"
OPENING: Final = b"retry: %d\n\n" % RETRY_MS


def frame(cursor: Cursor, type: str, payload: str) -> bytes:
    """Return the frame of one event; the same bytes for every stream."""
    return f"id: {cursor}\nevent: {type}\ndata: {payload}\n\n".encode("ascii")


def ping(cursor: Cursor) -> bytes:
    """Return the sign of life; its id moves the browser to where this stream has been handed everything."""
    return frame(cursor, "ping", "{}")


def reset(cursor: Cursor, reason: ResetReason) -> bytes:
    """Return the word that something was missed; the stream goes on after `cursor`."""
    return frame(cursor, "reset", '{"reason":"%s"}' % reason)


def bye(reason: ByeReason, retry_ms: int) -> bytes:
    """Return the last frame of a stream, with the delay after which this browser should come back."""
    return f'retry: {retry_ms}\nevent: bye\ndata: {{"reason":"{reason}"}}\n\n'.encode("ascii")
