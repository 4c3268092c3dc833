"""Answers other than a stream."""

from typing import Any, Final

RETRY_AFTER: Final = b"5"


async def answer(send: Any, status: int, text: str) -> None:
    """Send a short plain answer and close the connection."""
    body = f"{text}\n".encode()
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
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
