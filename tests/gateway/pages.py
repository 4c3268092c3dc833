"""A project whose every page is large, beside its streams: `uvicorn tests.gateway.pages:application`."""

from typing import Any

from django.core.asgi import get_asgi_application

from taskbell.gateway.asgi import EventsMiddleware

PAGE_BYTES = 3_000_000


async def page(scope: dict[str, Any], receive: Any, send: Any) -> None:
    headers = [(b"content-length", str(PAGE_BYTES).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"x" * PAGE_BYTES})


get_asgi_application()  # sets Django up, as a project's own asgi.py does
application = EventsMiddleware(page)
