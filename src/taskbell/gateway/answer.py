"""Answers other than a stream."""

from typing import Any, Final

RETRY_AFTER: Final = b"5"


async def answer(send: Any, status: int, text: str) -> None:
    """Send a short plain answer and close the connection."""
    body = _body(text)
    await send({"type": "http.response.start", "status": status, "headers": _headers(status, body)})
    await send({"type": "http.response.body", "body": body})


def refusal(status: int, text: str) -> bytes:
    """Return the same answer as the bytes that follow a status line."""
    body = _body(text)
    return b"".join(b"%s: %s\r\n" % header for header in _headers(status, body)) + b"\r\n" + body


def _body(text: str) -> bytes:
    return f"{text}\n".encode()


def _headers(status: int, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    if status == 503:
        headers.append((b"retry-after", RETRY_AFTER))
    if status == 405:
        headers.append((b"allow", b"GET"))
    return headers
