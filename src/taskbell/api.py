"""The JSON API of runs: what a page asks before its stream takes over, and cancelling. To everyone their own runs."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.db import router
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from taskbell.conf import current, resolve
from taskbell.models import Run
from taskbell.runs.cancel import ask_to_cancel
from taskbell.runs.read import MOST_RUNS, RunView, get_run, list_runs
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of
from taskbell.store.people import ACCOUNT_HEADER, account_name

DEFAULT_LIMIT: Final = 20

View = Callable[..., JsonResponse]


def signed_in(view: View) -> View:
    """Answer 401 to nobody; pass the user on to the view, and say whose the answer is."""

    @never_cache
    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> JsonResponse:
        authenticate = resolve(current().AUTHENTICATE)
        user = authenticate(request) if authenticate else getattr(request, "user", None)
        if user is None or not user.is_authenticated or not user.is_active:
            return JsonResponse({"error": "Sign in first."}, status=401)
        response = view(request, user, *args, **kwargs)
        response[ACCOUNT_HEADER] = account_name(key_of(user))
        return response

    return checked


@require_safe
@signed_in
def runs(request: HttpRequest, user: Any) -> JsonResponse:
    """Return the newest runs, newest first, and the cursor from which a stream continues them."""
    try:
        limit = int(request.GET.get("limit", DEFAULT_LIMIT))
    except ValueError:
        limit = 0
    if not 1 <= limit <= MOST_RUNS:
        return JsonResponse({"error": f"`limit` is a number from 1 to {MOST_RUNS}."}, status=400)
    found, cursor = list_runs(user, limit)
    return JsonResponse({"runs": [run.as_json() for run in found], "cursor": cursor})


@require_safe
@signed_in
def run(request: HttpRequest, user: Any, id: str) -> JsonResponse:
    """Return one run by our id or the engine's; 404 for unknown and for another person's alike."""
    # The cursor is read first: what happens after it comes on the stream, and twice is harmless.
    place = place_of_head(router.db_for_read(Run))
    found = get_run(id, user)
    if found is None:
        return _unknown()
    return JsonResponse({"run": found.as_json(), "cursor": str(place) if place else ""})


@require_POST
@csrf_protect  # also in a project without the middleware: a foreign page must not cancel anything
@signed_in
def cancel(request: HttpRequest, user: Any, id: str) -> JsonResponse:
    """Note that the run is to be cancelled, and return it: 202 as it is now, 409 if it had ended."""
    found = get_run(id, user)
    if found is None:
        return _unknown()
    if found.ended:
        return JsonResponse({"error": "This run has ended.", "run": found.as_json()}, status=409)
    asked = ask_to_cancel(found.run, key_of(user))
    return JsonResponse({"run": RunView(asked).as_json()}, status=202)


def _unknown() -> JsonResponse:
    return JsonResponse({"error": "No such run."}, status=404)
