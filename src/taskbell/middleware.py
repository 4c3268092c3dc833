"""`taskbell.middleware.OwnerMiddleware`: what a request enqueues belongs to its user."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from taskbell.runs.owner import in_request

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class OwnerMiddleware:
    """Keeps the request, not the user, in a context variable: the user is read when a task is enqueued."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._async(request)
        with in_request(request):
            return self.get_response(request)

    async def _async(self, request: HttpRequest) -> HttpResponseBase:
        with in_request(request):
            response: HttpResponseBase = await self.get_response(request)  # type: ignore[misc]
            return response
