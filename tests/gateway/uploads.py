"""A project that takes uploads beside its streams: `uvicorn tests.gateway.uploads:application`."""

import asyncio
from typing import Any

from django.core.asgi import get_asgi_application

from taskbell.gateway.asgi import EventsMiddleware

SLOW_SECONDS = 2.5


async def site(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer how many bytes came; at `/slow` half of the answer, and after a while the rest."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"%09d" % size
    headers = [(b"content-length", b"9")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/slow":
        await send({"type": "http.response.body", "body": body[:5], "more_body": True})
        await asyncio.sleep(SLOW_SECONDS)
        body = body[5:]
    await send({"type": "http.response.body", "body": body})


get_asgi_application()  # sets Django up, as a project's own asgi.py does
application = EventsMiddleware(site)
