"""django-eventstream's project: settings, addresses and application in one file. Runs in that peer's environment."""

import resource

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="only for measuring, on loopback",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_eventstream"],
)
django.setup()
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def publish(request: HttpRequest) -> HttpResponse:
    """Send what was posted to everybody."""
    from django_eventstream import send_event

    send_event("bench", "message", {"stamp": request.body.decode()}, async_publish=False)
    return HttpResponse()


import django_eventstream.urls  # noqa: E402  it needs the settings above

urlpatterns = [
    path("publish/", publish),
    path("events/", include(django_eventstream.urls), {"channels": ["bench"]}),
]
application = get_asgi_application()
