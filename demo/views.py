"""The page. What is Taskbell's here: one tag a thing in the template, and `get_run`."""

import inspect
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model, login
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from demo import photos, tasks
from demo.listing import highlight
from taskbell import get_run

PEOPLE: Final = ("demo", "guest")
LOOPBACK: Final = ("127.0.0.1", "::1")


@require_safe
@never_cache
@ensure_csrf_cookie
def page(request: HttpRequest) -> HttpResponse:
    """The page. Whoever sits at this machine is signed in by opening it: as `demo`, or on the other host as `guest`."""
    host = request.get_host().partition(":")[0]
    if not request.user.is_authenticated and request.META.get("REMOTE_ADDR") in LOOPBACK:
        _sign_in(request, "guest" if host == settings.GUEST_HOST else "demo")
    elsewhere = "127.0.0.1" if host == settings.GUEST_HOST else settings.GUEST_HOST
    shown = {
        "people": PEOPLE,
        "other": next((name for name in PEOPLE if name != request.user.get_username()), ""),
        "elsewhere": f"http://{elsewhere}:{request.get_port()}/",
        "languages": settings.LANGUAGES,
        "album": _newest_album(request.user),
        "listings": [
            highlight(inspect.getsource(task.run)) for task in (tasks.work, tasks.make_pictures, tasks.write_report)
        ],
    }
    return render(request, "demo/page.html", shown)


@require_POST
def sign_in(request: HttpRequest) -> HttpResponse:
    """Be one of the two people; there are no passwords, because the demo answers nobody but its own machine."""
    name = request.POST.get("user", "")
    if name not in PEOPLE:
        return HttpResponse(f"`user` is one of: {', '.join(PEOPLE)}.\n", status=400, content_type="text/plain")
    _sign_in(request, name)
    return redirect("page")


def _sign_in(request: HttpRequest, name: str) -> None:
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user)


def _newest_album(user: AbstractBaseUser | AnonymousUser) -> dict[str, Any] | None:
    """Return the run that made this person's newest pictures; its steps are the photos."""
    name = photos.newest_album(user) if user.is_authenticated else None
    run = get_run(name, user) if name else None
    return run.as_json() if run else None
