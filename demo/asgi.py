"""Web and streams in one process: streams are answered in front of Django, and everything else by it."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from taskbell.gateway.asgi import EventsMiddleware

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")

application = EventsMiddleware(ASGIStaticFilesHandler(get_asgi_application()))
