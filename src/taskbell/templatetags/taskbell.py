"""`{% load taskbell %}`: what a page needs so that its person sees their runs. For anonymous users, nothing.

A page is true at one place of the log: the first tag of a request reads it, before any run is read. The browser's
stream goes on from there, so nothing can happen between page and stream unseen.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from django import template
from django.conf import global_settings, settings
from django.contrib.sessions.backends.signed_cookies import SessionStore as SignedCookies
from django.core.exceptions import ImproperlyConfigured
from django.db import router
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.template.context import RequestContext
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import salted_hmac
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language

from taskbell.conf import current
from taskbell.inbox.push.config import configured
from taskbell.inbox.read import list_notifications
from taskbell.models import Run
from taskbell.runs.read import RunView, get_run, list_runs
from taskbell.runs.states import ENDINGS
from taskbell.store.log import place_of_head
from taskbell.store.outbox import key_of
from taskbell.store.people import account_name

# The elements speak by the same words, so that a page says the same with and without JavaScript.
WORDS: Final = Path(__file__).parents[1] / "js/strings.json"
API: Final = {"data-runs": "taskbell:runs", "data-notifications": "taskbell:notifications"}
DEFAULT_LANGUAGE: Final = "en"
KEY_LENGTH: Final = 20

register = template.Library()


@register.simple_tag(takes_context=True)
def taskbell_script(context: RequestContext) -> SafeString:
    """Load the client. Put it once in the base template; where in it makes no difference."""
    request = _request(context)
    if _user(request) is None:
        return SafeString()
    nonce = _nonce(context, request)
    return format_html(
        '<script type="module" src="{}"{} data-taskbell data-events="{}"{} data-person="{}" data-account="{}"'
        ' data-cursor="{}" data-ping="{}" data-csrf="{}"{}{}></script>',
        static("taskbell/taskbell.js"),
        format_html(' nonce="{}"', nonce) if nonce else "",
        reverse("taskbell-events:own"),
        _addresses(),
        person_key(request),
        account_name(key_of(request.user)),  # type: ignore[arg-type]
        page_cursor(request),
        current().PING,
        # Made anew from the same secret each time, as for every form, so that compression does not betray it.
        get_token(request),
        format_html(' data-csrf-header="{}"', header) if (header := _csrf_header()) else "",
        _push(),
    )


@register.simple_tag(takes_context=True)
def taskbell_toasts(context: RequestContext) -> SafeString:
    """Say when a run ends, and what notifications say, on every page with this tag. Put it once in the base."""
    return SafeString("<taskbell-toasts></taskbell-toasts>" if _user(_request(context)) else "")


@register.simple_tag(takes_context=True)
def taskbell_push(context: RequestContext) -> SafeString:
    """A button that turns Web Push on and off in this browser. Without `PUSH`, nothing."""
    return SafeString("<taskbell-push></taskbell-push>" if _user(_request(context)) and _push() else "")


@register.inclusion_tag("taskbell/run.html", takes_context=True)
def taskbell_run(context: RequestContext, run: Any) -> dict[str, Any]:
    """Show one run: an `AsyncResult`, a task's id, or a run. Of another person's run, nothing is rendered."""
    request = _request(context)
    user = _user(request)
    if user is None or not run:
        return {"shown": None}
    cursor = page_cursor(request)
    found = get_run(_id_of(run), user)
    return {"shown": _shown(found, cursor) if found else None}


@register.inclusion_tag("taskbell/runs.html", takes_context=True)
def taskbell_runs(context: RequestContext, limit: int = 20) -> dict[str, Any]:
    """Show the person's newest runs, newest first; new ones come by themselves."""
    request = _request(context)
    user = _user(request)
    if user is None:
        return {"signed_in": False}
    cursor = page_cursor(request)
    found, _ = list_runs(user, limit)
    return {
        "signed_in": True,
        "limit": limit,
        "cursor": cursor,
        "list": [_shown(run, cursor) for run in found],
        "words": _words(),
    }


@register.inclusion_tag("taskbell/inbox.html", takes_context=True)
def taskbell_inbox(context: RequestContext, limit: int = 5) -> dict[str, Any]:
    """Show the person's inbox: a bell with a panel, and `limit` notifications to those who have no JavaScript."""
    request = _request(context)
    user = _user(request)
    if user is None or not _address("taskbell:notifications"):
        return {"inbox": None}
    page_cursor(request)
    inbox = list_notifications(user, limit)
    # Counted, and without a number yet: the stream tells of them after the cursor.
    waiting = [str(row.id) for row in inbox.notifications if not row.seq]
    return {"inbox": inbox, "waiting": " ".join(waiting), "words": _words()}


def page_cursor(request: HttpRequest) -> str:
    """Return the place in the log at which this page is true: the one that its first tag read."""
    kept: str | None = getattr(request, "_taskbell_cursor", None)
    if kept is None:
        kept = str(place_of_head(router.db_for_read(Run)) or "")
        request._taskbell_cursor = kept  # type: ignore[attr-defined]
    return kept


def person_key(request: HttpRequest) -> str:
    """Return the name under which a tab remembers its cursor: another for every person and every sign-in.

    So what was remembered ends with the session, and nothing of the session can be read off it.
    """
    session = getattr(request, "session", None)
    # A session in a cookie has a new key whenever it is written.
    lasting = session is not None and not isinstance(session, SignedCookies)
    sign_in = session.session_key if session is not None and lasting else ""
    said = f"{key_of(request.user)}/{sign_in}"  # type: ignore[arg-type]
    return salted_hmac("taskbell.page", said, algorithm="sha256").hexdigest()[:KEY_LENGTH]


def _shown(run: RunView, cursor: str) -> dict[str, Any]:
    words = _words()
    ended = run.state in ENDINGS
    return {
        "run": run,
        "cursor": cursor,
        "json": json.dumps(run.as_json()),
        "label": run.label or run.name or words["task"],
        "state": words[_word_of(run)],
        "percent": int(100 * min(1, max(0, run.done / run.total))) if not ended and run.total and run.done else None,
        "steps": _steps(run, words) if not ended and run.run.steps is not None else None,
        "ended": ended,
        "words": words,
    }


def _steps(run: RunView, words: dict[str, Any]) -> str:
    done, total = run.run.steps.ended, run.run.steps.known  # type: ignore[union-attr]
    return _plural(words["steps"], total).replace("{}", str(done), 1).replace("{}", str(total), 1)


def _word_of(run: RunView) -> str:
    if run.cancel_requested_at is not None and not run.ended:
        return "cancelling"
    return "late" if run.late else str(run.state)


def _id_of(run: Any) -> str:
    if isinstance(run, RunView | Run):
        return str(run.id)
    # A row of django-celery-results has both, and its `id` is its own.
    return str(getattr(run, "task_id", None) or getattr(run, "id", None) or run)


def _request(context: RequestContext) -> HttpRequest:
    request = context.get("request")
    if not isinstance(request, HttpRequest):
        raise ImproperlyConfigured(
            "Taskbell's tags need the request: add 'django.template.context_processors.request' to the "
            "context_processors of TEMPLATES, and render with it: render(request, …)."
        )
    return request


def _user(request: HttpRequest) -> Any | None:
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _nonce(context: RequestContext, request: HttpRequest) -> str:
    """Return the nonce of Django 6 (`csp_nonce` in the context) or of django-csp; either is made when it is read."""
    nonce = context.get("csp_nonce")
    if nonce is None:
        nonce = getattr(request, "csp_nonce", None)
    return "" if nonce is None else str(nonce)


def _csrf_header() -> str:
    """Return the header that carries the token where a project has chosen another than Django's."""
    name = settings.CSRF_HEADER_NAME
    return "" if name == global_settings.CSRF_HEADER_NAME else name.removeprefix("HTTP_").replace("_", "-")


def _push() -> SafeString:
    """Return where browsers subscribe, and by which key; empty where the site sends no Web Push."""
    config, address = configured(), _address("taskbell:push")
    if config is None or not address:
        return SafeString()
    return format_html(' data-push="{}" data-push-key="{}"', address, config.public_key)


def _addresses() -> SafeString:
    """Return where the API is, without what a project does not serve."""
    served = [(attribute, _address(name)) for attribute, name in API.items()]
    return format_html_join("", ' {}="{}"', [(attribute, address) for attribute, address in served if address])


def _address(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _plural(entry: Any, count: int) -> str:
    """Return the form of an entry for a number. Korean has one form, and English two."""
    form: str = entry if isinstance(entry, str) else entry["one" if count == 1 else "other"]
    return form


def _words() -> dict[str, Any]:
    tables = _tables()
    language = (get_language() or DEFAULT_LANGUAGE).partition("-")[0]
    return tables.get(language, tables[DEFAULT_LANGUAGE])


@cache
def _tables() -> dict[str, dict[str, Any]]:
    tables: dict[str, dict[str, Any]] = json.loads(WORDS.read_text(encoding="utf-8"))
    return tables
