"""Runs as JSON: what a page asks before its stream takes over, and cancelling. To everyone their own runs."""

from typing import Any, Final

from django.db import router
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from taskbell.api.answers import error, read_limit, signed_in
from taskbell.models import Run
from taskbell.runs.cancel import ask_to_cancel
from taskbell.runs.read import MOST_RUNS, RunView, get_run, list_runs
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of

DEFAULT_LIMIT: Final = 20


@require_safe
@signed_in
def runs(request: HttpRequest, user: Any) -> JsonResponse:
    """Return the newest runs, newest first, and the cursor from which a stream continues them."""
    limit = read_limit(request, DEFAULT_LIMIT, MOST_RUNS)
    if limit is None:
        return error(400, f"`limit` is a number from 1 to {MOST_RUNS}.")
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
        return error(409, "This run has ended.", run=found.as_json())
    asked = ask_to_cancel(found.run, key_of(user))
    return JsonResponse({"run": RunView(asked).as_json()}, status=202)


def _unknown() -> JsonResponse:
    return error(404, "No such run.")
