"""The OpenAPI document of this API: one structure, served as `openapi.json`; a test asks a server all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from taskbell.api.notifications import DEFAULT_LIMIT as DEFAULT_NOTIFICATIONS
from taskbell.api.runs import DEFAULT_LIMIT as DEFAULT_RUNS
from taskbell.inbox.message import BODY_LENGTH, LEVELS, URL_LENGTH
from taskbell.inbox.read import MOST_NOTIFICATIONS
from taskbell.inbox.rows import MOST_IDS
from taskbell.models import TITLE_LENGTH
from taskbell.runs.read import MOST_RUNS
from taskbell.runs.states import STEPS_SHOWN, State
from taskbell.store.people import ACCOUNT_HEADER

Json = dict[str, Any]

VERSION: Final = "3.1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path, below the prefix. `answers` are schemas by status; None is an answer without JSON."""

    name: str
    view: str = ""  # where another operation has its name
    method: str
    path: str
    says: str
    token: bool = True  # wants Django's CSRF token
    parameters: Sequence[Json] = ()
    body: Json | None = None
    answers: Mapping[int, Json | None]


@require_safe
def openapi(request: HttpRequest) -> JsonResponse:
    """Return the document; it says what there is and not whose, so anybody may read it."""
    return JsonResponse(document(request.path.removesuffix("openapi.json")))


def document(prefix: str) -> Json:
    """Return the document of an API that is at `prefix`."""
    paths: dict[str, Json] = {}
    for operation in OPERATIONS:
        paths.setdefault(f"/{operation.path}", {})[operation.method] = _described(operation)
    return {
        "openapi": VERSION,
        "info": {
            "title": "Taskbell",
            "version": "1",
            "description": "A signed-in person's own runs and notifications. Fields are only ever added to answers.",
        },
        "servers": [{"url": prefix.rstrip("/") or "/"}],
        "paths": paths,
        "components": {"schemas": dict(SCHEMAS), "securitySchemes": _security_schemes()},
    }


def _described(operation: Operation) -> Json:
    described: Json = {
        "operationId": operation.name,
        "summary": operation.says,
        "parameters": list(operation.parameters),
        "security": [{"session": [], "csrf": []} if operation.token else {"session": []}],
        "responses": {str(status): _answer(status, schema) for status, schema in operation.answers.items()},
    }
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": operation.body}}}
    return described


def _answer(status: int, schema: Json | None) -> Json:
    answer: Json = {"description": SAYS[status]}
    if schema is not None:
        answer["content"] = {"application/json": {"schema": schema}}
    if schema is not None and status != 401:
        answer["headers"] = {ACCOUNT_HEADER: {"description": "Whose it is.", "schema": {"type": "string"}}}
    return answer


def _security_schemes() -> Json:
    token = settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-")
    return {
        "session": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
        "csrf": {"type": "apiKey", "in": "header", "name": token, "description": "Django's CSRF token."},
    }


def _object(**properties: Json) -> Json:
    """Return the schema of an object that has all of these, and one day more."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _limit(most: int, default: int) -> Json:
    return _query("limit", {"type": "integer", "minimum": 1, "maximum": most, "default": default}, "At most so many.")


def _query(name: str, schema: Json, says: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": says}


_TEXT: Final[Json] = {"type": "string"}
_FLAG: Final[Json] = {"type": "boolean"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_ID: Final[Json] = {"type": "string", "format": "uuid"}
_TIME: Final[Json] = {"type": "string", "format": "date-time"}
_CURSOR: Final[Json] = {"type": "string", "description": "Where in the log this is true; empty if it has no events."}
_STATES: Final = get_args(State)
_STATE: Final[Json] = {"type": "string", "enum": list(_STATES)}

#: Of the errors that have a body of ours.
ERROR: Final = _object(error=_TEXT)

SCHEMAS: Final[Mapping[str, Json]] = {
    "Run": _object(
        id=_ID,
        task_id=_TEXT,
        name=_TEXT,
        label=_TEXT,
        state=_STATE,
        was=_or_null(_STATE),
        late=_FLAG,
        cancelling=_FLAG,
        attempt={"type": "integer", "minimum": 1},
        done=_or_null({"type": "number"}),
        total=_or_null({"type": "number"}),
        message=_or_null(_TEXT),
        result={"description": "What the task chose to publish; any JSON."},
        error=_or_null(_object(message=_or_null(_TEXT), reference=_or_null(_TEXT))),
        parent=_or_null(_ID),
        step=_or_null(_COUNT),
        steps=_or_null(_ref("Steps")),
        queued_at=_TIME,
        started_at=_or_null(_TIME),
        finished_at=_or_null(_TIME),
        next_attempt_at=_or_null(_TIME),
        at=_TIME,
    ),
    "Steps": _object(
        total=_or_null(_COUNT),
        **dict.fromkeys(_STATES, _COUNT),
        list=_list(_object(id=_ID, label=_TEXT, state=_STATE), maxItems=STEPS_SHOWN),
    ),
    "Notification": _object(
        id=_ID,
        title={"type": "string", "minLength": 1, "maxLength": TITLE_LENGTH},
        body={"type": "string", "maxLength": BODY_LENGTH},
        url={"type": "string", "maxLength": URL_LENGTH},
        level={"type": "string", "enum": list(LEVELS)},
        kind=_TEXT,
        run=_or_null(_ID),
        at=_TIME,
        seen=_FLAG,
        read=_FLAG,
    ),
    "Which": {
        "oneOf": [
            _object(ids=_list(_ID, maxItems=MOST_IDS)) | {"additionalProperties": False},
            _object(all={"const": True}) | {"additionalProperties": False},
        ]
    },
    "Subscription": _object(endpoint={"type": "string", "format": "uri"}, keys=_object(p256dh=_TEXT, auth=_TEXT)),
    "Error": ERROR,
}

SAYS: Final[Mapping[int, str]] = {
    200: "The answer.",
    201: "It is kept.",
    202: "It is noted.",
    204: "It is gone.",
    400: "A value that is none.",
    401: "Nobody is signed in.",
    403: "The CSRF token is missing or wrong.",
    404: "No such thing, or another person's.",
    409: "The run had ended, or the browser is another account's.",
}

_RUN_ID: Final[Json] = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{3,255}$"},
    "description": "Ours, or the task queue's.",
}
_ONE_RUN: Final = _object(run=_ref("Run"), cursor=_CURSOR)
_CANCELLED: Final = _object(run=_ref("Run"))
_ENDED: Final = _object(error=_TEXT, run=_ref("Run"))
_UNREAD: Final = _object(unread=_COUNT)
_NO: Final = _ref("Error")

OPERATIONS: Final = (
    Operation(
        name="runs",
        method="get",
        token=False,
        path="runs/",
        says="The newest runs, newest first.",
        parameters=[_limit(MOST_RUNS, DEFAULT_RUNS)],
        answers={200: _object(runs=_list(_ref("Run")), cursor=_CURSOR), 400: _NO, 401: _NO},
    ),
    Operation(
        name="run",
        method="get",
        token=False,
        path="runs/{id}/",
        says="One run; of several with the task queue's id, the newest.",
        parameters=[_RUN_ID],
        answers={200: _ONE_RUN, 401: _NO, 404: _NO},
    ),
    Operation(
        name="cancel",
        method="post",
        path="runs/{id}/cancel/",
        says="Note that this run is to be cancelled.",
        parameters=[_RUN_ID],
        answers={202: _CANCELLED, 401: _NO, 403: None, 404: _NO, 409: _ENDED},
    ),
    Operation(
        name="notifications",
        method="get",
        token=False,
        path="notifications/",
        says="The newest notifications, newest first, and how many are unread of all.",
        parameters=[
            _limit(MOST_NOTIFICATIONS, DEFAULT_NOTIFICATIONS),
            _query("before", _ID, "Only those older than this one: the last one of the page before."),
        ],
        answers={
            200: _object(notifications=_list(_ref("Notification")), unread=_COUNT, cursor=_CURSOR),
            400: _NO,
            401: _NO,
        },
    ),
    Operation(
        name="seen",
        method="post",
        path="notifications/seen/",
        says="Note that these were seen. Others' and unknown ids are passed over.",
        body=_ref("Which"),
        answers={202: _UNREAD, 400: _NO, 401: _NO, 403: None},
    ),
    Operation(
        name="read",
        method="post",
        path="notifications/read/",
        says="Note that these were read, and so seen.",
        body=_ref("Which"),
        answers={202: _UNREAD, 400: _NO, 401: _NO, 403: None},
    ),
    Operation(
        name="push",
        method="post",
        path="push/subscriptions/",
        says="Send Web Push to this browser from now on. The body is what PushSubscription.toJSON() gives.",
        body=_ref("Subscription"),
        answers={201: {"type": "object"}, 400: _NO, 401: _NO, 403: None, 404: _NO, 409: _NO},
    ),
    Operation(
        name="push_end",
        view="push",
        method="delete",
        path="push/subscriptions/",
        says="Send none any more. Others' and unknown ones are passed over.",
        body=_object(endpoint=_TEXT),
        answers={204: None, 400: _NO, 401: _NO, 403: None},
    ),
    Operation(
        name="push_renew",
        method="post",
        token=False,
        path="push/subscriptions/renew/",
        says="Put another subscription in the place of one, for a service worker: it wants no CSRF token.",
        body=_object(old=_TEXT, new=_ref("Subscription")),
        answers={201: {"type": "object"}, 400: _NO, 401: _NO, 403: _NO, 404: _NO, 409: _NO},
    ),
)
