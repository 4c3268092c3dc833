"""In which language a person is spoken to: the page by `?lang=`, which is remembered, and a task by its message."""

from collections.abc import Callable
from typing import Any, Final

from celery.signals import before_task_publish, task_prerun
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import translation

HEADER: Final = "demo_language"


def choose_language(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Stands before Django's LocaleMiddleware, which reads the cookie and then what the browser prefers."""

    def handle(request: HttpRequest) -> HttpResponseBase:
        wanted = request.GET.get("lang", "")
        if wanted not in dict(settings.LANGUAGES):
            return get_response(request)
        request.COOKIES[settings.LANGUAGE_COOKIE_NAME] = wanted
        response = get_response(request)
        response.set_cookie(settings.LANGUAGE_COOKIE_NAME, wanted, samesite="Lax")
        return response

    return handle


@before_task_publish.connect
def _send(headers: dict[str, Any], **kwargs: object) -> None:
    headers[HEADER] = translation.get_language()


@task_prerun.connect
def _receive(task: Any, **kwargs: object) -> None:
    translation.activate(task.request.get(HEADER) or settings.LANGUAGE_CODE)
