"""The whole project in one process, as `uvicorn tests.asgi:application` runs it."""

from django.core.asgi import get_asgi_application

from taskbell.gateway.asgi import EventsMiddleware

application = EventsMiddleware(get_asgi_application())
