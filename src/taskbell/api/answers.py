"""What all parts of the JSON API do alike: who asks, and answers that are no."""

import re
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache

from taskbell.conf import current, resolve
from taskbell.store.outbox import key_of
from taskbell.store.people import ACCOUNT_HEADER, account_name

View = Callable[..., HttpResponse]

_LIMIT = re.compile(r"[0-9]{1,4}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def signed_in(view: View) -> View:
    """Answer 401 to nobody; pass the user on to the view, and say whose the answer is."""

    @never_cache
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        authenticate = resolve(current().AUTHENTICATE)
        user = authenticate(request) if authenticate else getattr(request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return error(401, "Sign in first.")
        response = view(request, user, *args, **kwargs)
        response[ACCOUNT_HEADER] = account_name(key_of(user))
        return response

    return checked


def error(status: int, text: str, **more: Any) -> JsonResponse:
    """Answer no, and why."""
    return JsonResponse({"error": text, **more}, status=status)


def read_limit(request: HttpRequest, default: int, most: int) -> int | None:
    """Return how many a request wants of a list, None if it says something else."""
    text = request.GET.get("limit", str(default))
    # Python's `int` takes digits of every script, spaces and underscores too.
    limit = int(text) if _LIMIT.fullmatch(text) else 0
    return limit if 1 <= limit <= most else None


def read_id(text: object) -> UUID:
    """Return an id as this API writes them, or raise ValueError."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise ValueError("no id")
    return UUID(text)
