"""Inboxes as JSON: to everyone their own notifications, and what they have seen and read of them."""

import json
from typing import Any, Final

from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, JsonResponse
from django.http.request import RawPostDataException, UnreadablePostError
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from taskbell.api.answers import error, read_id, read_limit, signed_in
from taskbell.inbox.read import MOST_NOTIFICATIONS, list_notifications, mark
from taskbell.inbox.rows import MOST_IDS, Mark

DEFAULT_LIMIT: Final = 20
# A hundred ids are four thousand bytes.
BODY_BYTES: Final = 16_384
WANTED: Final = f'Send JSON: {{"ids": [up to {MOST_IDS} ids of notifications]}} or {{"all": true}}.'


@require_safe
@signed_in
def notifications(request: HttpRequest, user: Any) -> JsonResponse:
    """Return the newest notifications, how many are unread, and the cursor from which a stream continues them."""
    limit = read_limit(request, DEFAULT_LIMIT, MOST_NOTIFICATIONS)
    if limit is None:
        return error(400, f"`limit` is a number from 1 to {MOST_NOTIFICATIONS}.")
    before = request.GET.get("before")
    try:
        page = list_notifications(user, limit, read_id(before) if before is not None else None)
    except ValueError:
        return error(400, "`before` is the id of a notification: the last one of the page before.")
    return JsonResponse(page.as_json())


@require_POST
@csrf_protect
@signed_in
def seen(request: HttpRequest, user: Any) -> JsonResponse:
    """Note that the person has seen these."""
    return _mark(request, user, read=False)


@require_POST
@csrf_protect
@signed_in
def read(request: HttpRequest, user: Any) -> JsonResponse:
    """Note that the person has read these, and so seen them."""
    return _mark(request, user, read=True)


def _mark(request: HttpRequest, user: Any, *, read: bool) -> JsonResponse:
    body = _body(request)
    if body is None:
        return error(400, f"The body is over {BODY_BYTES:,} bytes, or cannot be read. {WANTED}")
    try:
        wanted = _wanted(json.loads(body), read=read)
    except (ValueError, RecursionError):
        return error(400, WANTED)
    return JsonResponse({"unread": mark(user, wanted)}, status=202)


def _body(request: HttpRequest) -> bytes | None:
    try:
        # Django reads everything up to its own limit; we know that we do not want it.
        if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_BYTES:
            return None
        body = request.body
    except (ValueError, RequestDataTooBig, RawPostDataException, UnreadablePostError):
        return None
    return body if len(body) <= BODY_BYTES else None


def _wanted(values: Any, *, read: bool) -> Mark:
    if values == {"all": True} and values["all"] is True:
        return Mark(all=True, read=read)
    ids = values["ids"] if isinstance(values, dict) and values.keys() == {"ids"} else None
    if not isinstance(ids, list) or len(ids) > MOST_IDS:
        raise ValueError(WANTED)
    return Mark(tuple(map(read_id, ids)), read=read)
