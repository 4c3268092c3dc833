"""Where browsers subscribe to Web Push, and the worker that shows what comes."""

import json
import re
from pathlib import Path
from typing import Any, Final

from django.core.exceptions import RequestDataTooBig
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.request import RawPostDataException, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from taskbell.api.answers import error, signed_in
from taskbell.gateway.access import Leaving, recipient_of
from taskbell.inbox.push.config import configured
from taskbell.inbox.push.subscriptions import Taken, find, read, save

# Two endpoints of the greatest length, and keys.
BODY_BYTES: Final = 8_192
WORKER: Final = Path(__file__).parents[1] / "static/taskbell/worker.js"

_ORIGIN: Final = re.compile(r"https?://[A-Za-z0-9.:\[\]-]{1,240}")


# In a transaction of its own: a tick that wants the same new recipient would wait for the request's.
@transaction.non_atomic_requests
@require_http_methods(["POST", "DELETE"])
@csrf_protect  # also in a project without the middleware
@signed_in
def subscriptions(request: HttpRequest, user: Any) -> HttpResponse:
    """Keep this browser's subscription, or drop it; somebody else's is not touched, and not told of."""
    try:
        values = _body(request)
        return _keep(user, values, _origin(request)) if request.method == "POST" else _drop(user, values)
    except ValueError as refused:
        return error(400, str(refused))
    except Leaving as refused:
        return error(409, str(refused.__doc__))


# A service worker has no token. What stands for it is the old endpoint, which no other page knows.
@transaction.non_atomic_requests
@require_POST
@csrf_exempt
@signed_in
def renew(request: HttpRequest, user: Any) -> HttpResponse:
    """Replace a subscription of this person, named by its endpoint, by the one that the browser has now."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        return error(403, "Only a page of this site may ask that.")
    try:
        values = _body(request)
        old = find(_endpoint(values, "old"), recipient_of(user))
        if old is None:
            return error(404, "No such subscription.")
        answer = _keep(user, values.get("new"), old.origin)
        if answer.status_code == 201 and values["old"] != values["new"]["endpoint"]:
            old.delete()
        return answer
    except ValueError as refused:
        return error(400, str(refused))
    except Leaving as refused:
        return error(409, str(refused.__doc__))


@require_safe
def worker(request: HttpRequest) -> HttpResponse:
    """Return the service worker. Its scope is the folder that it comes from, in which no page lies: so it stands in the
    way of no other worker of the site."""
    response = HttpResponse(WORKER.read_bytes(), content_type="text/javascript; charset=utf-8")
    response["Service-Worker-Allowed"] = request.path.rpartition("/")[0] + "/"
    response["Cache-Control"] = "no-cache"
    response["X-Content-Type-Options"] = "nosniff"
    response["Content-Security-Policy"] = "default-src 'none'; connect-src 'self'"
    return response


def _keep(user: Any, values: Any, origin: str) -> HttpResponse:
    config = configured()
    if config is None:
        return error(404, "This site sends no Web Push.")
    subscription = read(values, config.hosts)
    try:
        save(subscription, recipient_of(user), origin)
    except Taken:
        return error(409, "Another account has this endpoint. Unsubscribe in the browser, and subscribe anew.")
    return JsonResponse({}, status=201)


def _drop(user: Any, values: dict[str, Any]) -> HttpResponse:
    if (found := find(_endpoint(values, "endpoint"), recipient_of(user))) is not None:
        found.delete()
    return HttpResponse(status=204)


def _endpoint(values: dict[str, Any], name: str) -> str:
    endpoint = values.get(name)
    if not isinstance(endpoint, str):
        raise ValueError(f'Send JSON: {{"{name}": "the endpoint of the subscription"}}.')
    # A lone surrogate is valid JSON, and no text that could be looked up.
    return endpoint.encode(errors="replace").decode()


def _body(request: HttpRequest) -> dict[str, Any]:
    try:
        if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_BYTES:
            raise ValueError
        values = json.loads(request.body)
    except (ValueError, RecursionError, RequestDataTooBig, RawPostDataException, UnreadablePostError):
        values = None
    if not isinstance(values, dict):
        raise ValueError(f"Send a JSON object of {BODY_BYTES:,} bytes at most.")
    return values


def _origin(request: HttpRequest) -> str:
    """Return where the page is: as the browser says, which CSRF has compared; behind a proxy Django may not know."""
    said = request.headers.get("Origin", "")
    return said if _ORIGIN.fullmatch(said) else f"{request.scheme}://{request.get_host()}"
