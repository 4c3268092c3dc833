"""The benchmark's project as one ASGI application, for the servers that are compared."""

from django.core.asgi import get_asgi_application

from taskbell.gateway.asgi import EventsMiddleware

application = EventsMiddleware(get_asgi_application())
